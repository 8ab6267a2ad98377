"""Fills a model from a weight file."""

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg.checkpoints import aligned
from kseg.pretrained import source
from kseg.pretrained.choice import another_builder, meant
from kseg.pretrained.file import HEADER, opened, read_description, read_order, weight_keys
from kseg.pretrained.model import description_of


def load(
    model: keras.Model,
    weights: str | os.PathLike | Mapping[str, np.ndarray] | None,
    *,
    strict: bool = True,
    head: str = "load",
) -> keras.Model:
    """Fills all variables of a model from a weight file.

    Args:
        model: The model that the file belongs to.
        weights: A `.safetensors` file by `save`, a run folder, an address, the name of released weights or of the
            data set that they were trained on, Keras's `.weights.h5`, arrays under the keys of `weight_keys`, or None
            to leave the model as it is.
        strict: False loads the tensors that fit and lists the others in a warning. A finer FCN can thus start from a
            coarser one.
        head: `"load"`, or `"skip"` to leave out the layers whose shape depends on the number of classes; a warning
            lists them.

    Returns:
        The same model.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the download failed.
        ValueError: If a tensor is missing, left over, of another shape or not finite (the model is unchanged then), or
            if `head` is invalid.
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
    name, described = "the checkpoint", description_of(model)
    if not isinstance(weights, Mapping):
        weights = meant(weights, described["builder"], given=described["arguments"])
        name = os.fspath(weights)
        weights = source.locate(weights)
    variables = weight_keys(model)
    fresh = _head_keys(model) if head == "skip" else {}
    with _tensors(weights) as (builder, order, found, stored):
        names = aligned(model, [*variables], [*found], order)
        shapes = {key: found[given] for key, given in names.items()}
        tensor = lambda key: stored(names[key])  # noqa: E731
        wanted = {key: variable for key, variable in variables.items() if key not in fresh}
        missing = [key for key in wanted if key not in shapes]
        extra = sorted(key for key in shapes if key not in variables)
        misshapen = [key for key in wanted if key in shapes and shapes[key] != tuple(wanted[key].shape)]
        if not isinstance(weights, Mapping) and shapes and not any("/" in key for key in shapes):
            raise ValueError(
                f"{name} names its tensors as PyTorch does ({next(iter(shapes))}): "
                "kseg.zoo.smp.load reads whole models, kseg.encoders.resnet.convert encoders"
            )
        faults = [f"missing {key}" for key in missing]
        faults += [f"left over {key}" for key in extra]
        faults += [f"{key} is {shapes[key]}, expected {tuple(wanted[key].shape)}" for key in misshapen]
        if faults and strict:
            other = another_builder(name, builder, described["builder"])
            raise ValueError(other or f"{name} does not fit {model.name!r}: {_first(faults, 3)}")
        unfit = {*missing, *misshapen}
        if wanted and len(unfit) == len(wanted):
            raise ValueError(f"{name} does not fit {model.name!r}: none of its {len(found)} tensors belongs there")
        fitting = [key for key in wanted if key not in unfit]
        if (unsound := next((key for key in fitting if not _is_sound(key, tensor(key))), None)) is not None:
            raise ValueError(
                f"{name}: {unsound} contains values that no training gives (NaN, infinity or a negative variance): the "
                "file is damaged, or its training diverged"
            )
        for key in fitting:
            wanted[key].assign(tensor(key))
    report = [f"initialized randomly: {_first(sorted(set(fresh.values())), 20)}"] if fresh else []
    if faults or report:
        warnings.warn(
            f"{model.name!r} from {name}: {'; '.join([*report, _first(faults, 20)]).strip('; ')}", stacklevel=2
        )
    return model


def _is_sound(key: str, array: np.ndarray) -> bool:
    """Whether weights are finite and variances not negative; others make all scores NaN, which read as class 0."""
    array = np.asarray(array, "float32")
    return bool(np.isfinite(array).all() and not (key.endswith("moving_variance") and (array < 0).any()))


def _first(items: list[str], count: int) -> str:
    return "; ".join(items[:count]) + (f" and {len(items) - count} more" if len(items) > count else "")


def _head_keys(model: keras.Model) -> dict[str, str]:
    """The keys of the tensors whose shape depends on the number of classes, each with the path of its layer."""
    return {
        variable.path: variable.path.rpartition("/")[0]
        for layer in model.layers
        if (classes := getattr(layer, "num_classes", None)) is not None
        for variable in layer.weights
        if variable.shape[-1] == classes
    }


@contextlib.contextmanager
def _tensors(
    weights: str | os.PathLike | Mapping[str, np.ndarray],
) -> Iterator[tuple[str, list[str], dict[str, tuple], Any]]:
    """The builder, the order of unnamed layers, the shape of every tensor, and a function that reads one.

    The file is never completely in memory.
    """
    if isinstance(weights, Mapping):
        yield "", [], {key: tuple(array.shape) for key, array in weights.items()}, weights.__getitem__
        return
    with opened(weights) as file:
        header = file.metadata() or {}
        description = read_description(weights, header[HEADER]) if HEADER in header else {}
        stored = branches_by_position(file.keys(), description.get("arguments", {}).get("rates"))
        shapes = {key: tuple(file.get_slice(name).get_shape()) for key, name in stored.items()}
        order = read_order(weights, header)
        yield description.get("builder", ""), order, shapes, lambda key: file.get_tensor(stored[key])


def branches_by_position(keys: Iterable[str], rates: Sequence[int] | None = None) -> dict[str, str]:
    """Maps current keys to the keys of a file: older files name the branches of a pyramid by their rate (`rate_6`).

    `rates` are in the order of the branches; None stands for ascending order.

    Example:
        >>> branches_by_position(["aspp/rate_12/b", "aspp/rate_6/b"])
        {'aspp/branch_2/b': 'aspp/rate_12/b', 'aspp/branch_1/b': 'aspp/rate_6/b'}
    """
    keys = list(keys)
    found = [re.search(r"(?<=/)rate_(\d+)(?=[/_])", key) for key in keys]
    order = list(rates or sorted({int(match[1]) for match in found if match}))
    return {
        f"{key[: match.start()]}branch_{order.index(int(match[1])) + 1}{key[match.end() :]}" if match else key: key
        for key, match in zip(keys, found, strict=True)
    }
