"""Weight files that describe themselves: safetensors with the builder of the model and its arguments in the header."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from kseg.checkpoints import automatic_keys, pointer_fault, read_object, weight_keys
from kseg.classes import check_names

if TYPE_CHECKING:
    import keras

HEADER = "kseg"
"""The key of the description, which is JSON, in the header."""

ORDER = "order"
"""The key of the order of unnamed layers' tensors, a list in JSON, in the header."""

LONGEST_NAME = 255
"""Bytes that file systems allow in the name of a file."""

CONVERSION = (
    "without a description of its model: convert it in Python, model = kseg.zoo.smp.load(FILE, 'Unet', encoder_name="
    "'resnet34', classes=2), or kseg.zoo.torchvision.load(FILE, 'deeplabv3', encoder='resnet50', num_classes=21); "
    "kseg.pretrained.save(model, 'model.safetensors')"
)


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    classes: Iterable[str] | None = None,
    palette: Iterable[Iterable[int]] | None = None,
    pixels: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    **notes: Any,
) -> pathlib.Path:
    """Writes a model's weights with all that `kseg.zoo.load` needs to rebuild it.

    The builder and its arguments are read from the model. `kseg.zoo.load` rebuilds models of `kseg.zoo.BUILDERS`; your
    own builder loads the file by `weights=`.

    Args:
        model: A model that a builder of `kseg.zoo` returned, trained or not.
        path: The file to write, `*.safetensors`. It is written completely or not at all.
        classes: Class names in the order of their ids; None for the model's own.
        palette: One (R, G, B), 0 to 255, per class; None for the model's own.
        pixels: What the numbers of image files mean, `kseg.data.Pixels.to_json()`; None for the model's own.
        dtype: Storage type of floating-point weights, e.g. `"float16"`. None keeps the type of each variable; so do
            tensors with values beyond the range of `dtype`.
        **notes: More to store (scores, data set, recipe), JSON types only. `builder=` and `arguments=` replace what
            the model stores.

    Returns:
        The path of the file.

    Raises:
        ValueError: If the model does not store which builder made it, if the number of class names or colors differs
            from its number of classes, if a name is empty or occurs twice, or if the file name does not end with
            `.safetensors`.
        OSError: If the file cannot be written; nothing is left behind.
    """
    from kseg.pretrained.model import colors, description_of

    if pathlib.Path(path).suffix != ".safetensors":
        raise ValueError(f"{path} must end with .safetensors, the format of weight files; model.save writes others")
    description = description_of(model)
    if classes is not None:
        description["classes"] = list(classes)
        check_names(description["classes"], "classes")
    if palette is not None:
        description["palette"] = [list(color) for color in colors(palette)]
    if pixels is not None:
        description["pixels"] = dict(pixels)
    description |= notes
    if not description["builder"]:
        raise ValueError(
            f"{model.name!r} was not built by kseg.zoo, so a weight file cannot say how to rebuild it: use "
            'model.save("model.keras"), or decorate the function that builds it with kseg.zoo.builder'
        )
    count = description["arguments"].get("num_classes")
    for name in ("classes", "palette") if count else ():
        if len(found := description[name]) not in (0, expected := max(count, 2)):
            raise ValueError(f"{name} has {len(found)} entries, but num_classes={count}: give {expected}")
    tensors = {key: _stored(variable, dtype) for key, variable in weight_keys(model).items()}
    header = {HEADER: json.dumps(description), **order_of(model, tensors)}
    return atomic_write(path, safetensors.numpy.save(tensors, header))


def order_of(model: keras.Model, keys: Iterable[str]) -> dict[str, str]:
    """Returns what the header of a file has to say about unnamed layers, see `kseg.checkpoints.aligned`."""
    automatic = automatic_keys(model, keys)
    return {ORDER: json.dumps(automatic)} if automatic else {}


def _stored(variable: keras.Variable, dtype: str | None) -> np.ndarray:
    import keras

    array = np.asarray(keras.ops.convert_to_numpy(variable), order="C")
    if dtype is None or not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):
        stored = array.astype(dtype)
    return stored if np.array_equal(np.isfinite(stored), np.isfinite(array)) else array


def atomic_write(path: str | os.PathLike, data: bytes | Iterable[bytes | memoryview]) -> pathlib.Path:
    """Writes a file under a temporary name beside its place and renames it, so that it is never seen incomplete.

    The temporary name is `.{name}.kseg-{16 hexadecimal digits}`, with the beginning of a long name only. The file's
    permissions follow the user's umask.

    Args:
        path: The file to write; its folder is made.
        data: The content, whole or in pieces.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written, e.g. on a full disk; a file that was there before is unchanged.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name, end = f".{path.name}", f".kseg-{secrets.token_hex(8)}"
    while len(os.fsencode(name + end)) > LONGEST_NAME and len(os.fsencode(path.name)) <= LONGEST_NAME:
        name = name[:-1]
    aside = path.with_name(name + end)
    try:
        with open(aside, "xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        os.replace(aside, path)
    except BaseException as error:
        if not isinstance(error, FileExistsError):
            with contextlib.suppress(OSError):
                aside.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {os.strerror(error.errno or 0)}") from None
        raise
    return path


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Reads the header of a weight file: builder, arguments, classes, palette, pixels and notes.

    Args:
        path: A file that `save` wrote.

    Returns:
        The description, at least with the keys `builder`, `arguments`, `classes` and `palette`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a safetensors file, is truncated, or has no description.
    """
    with opened(path) as file:
        header, keys = file.metadata() or {}, list(file.keys())
    if HEADER not in header and "progress" in header:
        best = pathlib.Path(path).with_name("best.safetensors")
        raise ValueError(f"{path} is the state of a training: its weights are in {best}")
    if HEADER not in header:
        config = pathlib.Path(path).with_name("config.json")
        if config.is_file() and {"architectures", "_model_class"} & read_object(config).keys():
            raise ValueError(f"{path} is part of the model that {config} describes: name the folder, {config.parent}")
        if any("." in key and "/" not in key for key in keys):
            raise ValueError(f"{path} is a file of another library {CONVERSION}")
        raise ValueError(f"{path} has no description of its model: it was not written by kseg")
    return read_description(path, header[HEADER])


def read_description(path: str | os.PathLike, text: str) -> dict[str, Any]:
    """Returns the description in the header of a file; raises a ValueError if it has none of this form."""
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
        found = json.loads(text)
        count = found["arguments"].get("num_classes")
        counts = {0, max(count, 2)} if count is not None else {len(found["classes"]), len(found["palette"])}
        colors = [value for color in found["palette"] for value in color]
        if (
            isinstance(found["builder"], str)
            and isinstance(found["classes"], list)
            and type(count) in (int, type(None))
            and {len(found["classes"]), len(found["palette"])} <= counts
            and all(isinstance(name, str) for name in found["classes"])
            and len(colors) == 3 * len(found["palette"])
            and all(type(value) is int and 0 <= value <= 255 for value in colors)
            and all(isinstance(found.get(name, {}), dict) for name in ("arguments", "pixels", "processor"))
        ):
            return found
    raise ValueError(f"the description of the model in {path} is damaged: fetch or write the file again")


def read_order(path: str | os.PathLike, header: Mapping[str, str]) -> list[str]:
    """Returns what `order_of` has written into the header of a file; raises a ValueError if it is damaged."""
    with contextlib.suppress(ValueError):
        found = json.loads(header.get(ORDER, "[]"))
        if isinstance(found, list) and all(isinstance(key, str) for key in found):
            return found
    raise ValueError(f"the order of the tensors in {path} is damaged: fetch or write the file again")


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a safetensors file by `safetensors.safe_open`; raises one-line errors."""
    if os.path.isdir(path):
        raise FileNotFoundError(f"{path} is a folder without best.safetensors: name a weight file or a run folder")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no weight file at {path}")
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            yield file
    except safetensors.SafetensorError as error:
        kind = (
            other_kind(pathlib.Path(path)) or f"is not a complete safetensors file ({error}): fetch or write it again"
        )
        raise ValueError(f"{path} {kind}") from None


def other_kind(path: pathlib.Path) -> str | None:
    """Returns which other kind of weight file it is, and what reads it."""
    if path.suffix == ".toml":
        return "is a recipe, which contains no weights: name the run folder of its training"
    if path.suffix in (".onnx", ".tflite", ".xml", ".pb"):
        return "is an exported model, from which no Keras model can be made: name the weights that it was exported from"
    with path.open("rb") as file:
        begins = file.read(16)
    if begins[:4] == b"\x89HDF" and path.name.endswith(".weights.h5"):
        return (
            "holds Keras weights without a description of the model: build it in Python, kseg.zoo.unet(2, weights=FILE)"
        )
    if begins[:4] == b"\x89HDF":
        return "is a Keras model in HDF5: kseg.zoo.load reads it under a name that ends with .h5"
    if fault := pointer_fault(begins):
        return fault
    if begins[:2] == b"PK":
        return _zipped(path)
    return f"is a PyTorch file {CONVERSION}" if begins[:1] == b"\x80" and begins[8:9] != b"{" else None


def _zipped(path: pathlib.Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return "is a damaged zip archive: fetch or write it again"
    if "model.weights.h5" in names:
        return "is a whole Keras model: kseg.zoo.load reads it under a name that ends with .keras"
    if "constants.pkl" in names:
        return (
            "is a TorchScript program: in PyTorch, save its tensors, torch.save(torch.jit.load(FILE).state_dict(), "
            f"'state.pth'), which is a file {CONVERSION}"
        )
    if names and all(name.endswith(".npy") for name in names):
        return (
            "is a NumPy archive: kseg.pretrained.load(model, dict(numpy.load(FILE))) fills a model if the arrays have "
            "the keys of its weight files"
        )
    return f"is a PyTorch file {CONVERSION}" if "data.pkl" in names else "is no weight file, but a zip archive"
