"""Self-describing weight files: safetensors whose header says which builder, with which arguments, made the model."""

import contextlib
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

HEADER = "kseg"
"""The header's key under which the description stands, as JSON."""


def weight_keys(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable of a model that a weight file holds, by a path that is unique and stable.

    Keras's own `variable.path` of a sub-model does not begin with the sub-model's name and may therefore occur twice.

    Args:
        model: A functional model; sub-models are walked.

    Returns:
        `{path: variable}` in the model's order, e.g. `"encoder/stem/conv/kernel"`.

    Raises:
        ValueError: Two variables have the same path.

    Example:
        >>> image = keras.Input((8, 8, 3))
        >>> list(weight_keys(keras.Model(image, keras.layers.Conv2D(2, 1, name="score")(image))))
        ['score/kernel', 'score/bias']
    """
    keys: dict[str, keras.Variable] = {}
    for path, variable in _walk(model):
        if path in keys:
            raise ValueError(f"two variables of {model.name!r} have the path {path!r}: name their layers differently")
        keys[path] = variable
    return keys


def _walk(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from ((f"{layer.name}/{path}", variable) for path, variable in _walk(layer))
        else:
            yield from ((variable.path, variable) for variable in layer.weights)


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    builder: str,
    arguments: Mapping[str, Any],
    classes: Iterable[str] = (),
    palette: Iterable[Iterable[int]] = (),
    dtype: str | None = None,
    **notes: Any,
) -> pathlib.Path:
    """Writes a model's weights with all that `kseg.zoo.load` needs to rebuild it.

    Args:
        model: The model.
        path: The file to write, `*.safetensors`. It appears whole or not at all.
        builder: Name of the function in `kseg.zoo` that built the model.
        arguments: The keyword arguments it was called with, JSON types only.
        classes: Class names in the order of their ids.
        palette: One (R, G, B), 0 to 255, a class.
        dtype: Storage type of floating-point weights, e.g. `"float16"`; None keeps the variables' own.
        **notes: More to remember (scores, data set, recipe), JSON types only.

    Returns:
        The file's path.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    description = {
        "builder": builder,
        "arguments": dict(arguments),
        "classes": list(classes),
        "palette": [list(map(int, colour)) for colour in palette],
        **notes,
    }
    tensors = {key: _stored(variable, dtype) for key, variable in weight_keys(model).items()}
    return write_aside(path, safetensors.numpy.save(tensors, {HEADER: json.dumps(description)}))


def _stored(variable: keras.Variable, dtype: str | None) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(variable), order="C")
    return array.astype(dtype) if dtype and np.issubdtype(array.dtype, np.floating) else array


def write_aside(path: str | os.PathLike, data: bytes | Iterable[bytes | memoryview]) -> pathlib.Path:
    """Writes a file beside its place and renames it, so that nobody ever sees half of it.

    Args:
        path: Where the file belongs; its folder is made.
        data: Its content, whole or in pieces.

    Returns:
        The path.

    Raises:
        OSError: It cannot be written, e.g. a full disk; the file that stood there before is untouched.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {os.strerror(error.errno or 0)}") from None
        raise
    return path


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a weight file's header: builder, arguments, classes, palette and notes.

    Args:
        path: A file that `save` wrote.

    Returns:
        The description, with the keys `builder`, `arguments`, `classes` and `palette` at least.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no safetensors file, is truncated, or does not describe itself.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
    if HEADER not in header:
        raise ValueError(f"{path} does not say which model it belongs to: it was not written by kseg")
    return json.loads(header[HEADER])


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weight file at {path}")
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            yield file
    except safetensors.SafetensorError as error:
        with open(path, "rb") as file:
            if file.read(2) in (b"PK", b"\x80\x02"):
                told = "is a PyTorch file, which does not say its model: read it with kseg.checkpoints"
                raise ValueError(f"{path} {told}") from None
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch or write it again") from None


def resolve(
    weights: str | os.PathLike | None, num_classes: int | None, encoder_weights: str | None
) -> tuple[int, str | None]:
    """What a builder builds: the class count, from the weight file if not given, and the encoder weights still needed.

    Args:
        weights: A weight file, or None.
        num_classes: As handed to the builder.
        encoder_weights: As handed to the builder.

    Returns:
        The class count, and the encoder's weights: None where `weights` brings them.

    Raises:
        ValueError: Neither a class count nor a weight file that knows it, or the two contradict each other.
    """
    if weights is None:
        if num_classes is None:
            raise ValueError("num_classes is missing: say how many classes, or name the weights that know it")
        if num_classes < 1:
            raise ValueError(f"num_classes must be 1 (binary) or more, got {num_classes}")
        return num_classes, encoder_weights
    if os.fspath(weights).endswith(".weights.h5"):
        if num_classes is None:
            raise ValueError(f"num_classes is missing: {weights} does not say how many classes it has")
        return num_classes, None
    known = describe(weights)["arguments"]["num_classes"]
    if num_classes not in (None, known):
        raise ValueError(f"num_classes={num_classes}, but {weights} was trained with {known}: leave num_classes out")
    return known, None


def load(
    model: keras.Model,
    weights: str | os.PathLike | Mapping[str, np.ndarray] | None,
    *,
    strict: bool = True,
    head: str = "load",
) -> keras.Model:
    """Fills a model from a weight file; every variable, none left over.

    Args:
        model: The model that the file belongs to.
        weights: A `.safetensors` file by `save`, Keras's `.weights.h5`, arrays under the keys of `weight_keys`, or None
            to leave the model as it is.
        strict: False loads what fits and reports the rest in a warning: how a finer FCN starts from a coarser one.
        head: `"load"`, or `"skip"` to leave the layers that know the class count as they are, for other classes; a
            warning names them.

    Returns:
        The same model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A tensor is missing, left over or of another shape; nothing has been assigned then. Or `head` is
            neither word.
    """
    if head not in ("load", "skip"):
        raise ValueError(f'head must be "load" or "skip", got {head!r}')
    if weights is None:
        return model
    if not isinstance(weights, Mapping) and os.fspath(weights).endswith(".weights.h5"):
        if not strict or head == "skip":
            raise ValueError(f"{weights} can only be loaded whole: strict and head are for .safetensors files")
        model.load_weights(weights)
        return model
    name = "the checkpoint" if isinstance(weights, Mapping) else os.fspath(weights)
    variables = weight_keys(model)
    fresh = _head_keys(model) if head == "skip" else {}
    with _tensors(weights) as (shapes, tensor):
        wanted = {key: variable for key, variable in variables.items() if key not in fresh}
        missing = [key for key in wanted if key not in shapes]
        extra = sorted(key for key in shapes if key not in variables)
        misshapen = [key for key in wanted if key in shapes and shapes[key] != tuple(wanted[key].shape)]
        faults = [f"missing {key}" for key in missing]
        faults += [f"left over {key}" for key in extra]
        faults += [f"{key} is {shapes[key]}, expected {tuple(wanted[key].shape)}" for key in misshapen]
        if faults and strict:
            raise ValueError(f"{name} does not fit {model.name!r}: {_first(faults, 20)}")
        unfit = {*missing, *misshapen}
        if wanted and len(unfit) == len(wanted):
            raise ValueError(f"{name} does not fit {model.name!r}: none of its {len(shapes)} tensors belongs there")
        for key, variable in wanted.items():
            if key not in unfit:
                variable.assign(tensor(key))
    report = [f"starts fresh: {_first(sorted(set(fresh.values())), 20)}"] if fresh else []
    if faults or report:
        warnings.warn(
            f"{model.name!r} from {name}: {'; '.join([*report, _first(faults, 20)]).strip('; ')}", stacklevel=2
        )
    return model


def _first(items: list[str], count: int) -> str:
    return "; ".join(items[:count]) + (f" and {len(items) - count} more" if len(items) > count else "")


def _head_keys(model: keras.Model) -> dict[str, str]:
    """The keys of the tensors whose shape depends on the class count, each with the name of what holds it."""
    return {
        variable.path: variable.path.rpartition("/")[0]
        for layer in model.layers
        if (classes := getattr(layer, "num_classes", None)) is not None
        for variable in layer.weights
        if variable.shape[-1] == classes
    }


@contextlib.contextmanager
def _tensors(weights: str | os.PathLike | Mapping[str, np.ndarray]) -> Iterator[tuple[dict[str, tuple], Any]]:
    """The shape of every tensor, and what fetches one: a file is never wholly in memory."""
    if isinstance(weights, Mapping):
        yield {key: tuple(array.shape) for key, array in weights.items()}, weights.__getitem__
        return
    with _opened(weights) as file:
        yield {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, file.get_tensor  # noqa: SIM118
