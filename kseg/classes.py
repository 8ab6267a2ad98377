"""What class ids, class names and probabilities must be: the checks that all rooms share."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

TOLERANCE = 0.01
"""Largest difference of the sum of probabilities or of a one-hot label from 0 or 1, for numbers of 16 bits."""


def default_names(count: int) -> tuple[str, ...]:
    """Returns names for the classes of a model that stores none.

    Example:
        >>> default_names(2)
        ('class 0', 'class 1')
    """
    return tuple(f"class {index}" for index in range(count))


def class_ids(values: Any, name: str = "label") -> np.ndarray:
    """Returns class ids as an array of integers. Floats are accepted if all of them are whole numbers.

    Args:
        values: Integers, booleans or whole floats of any shape.
        name: What they are, for the error.

    Returns:
        An integer array of the same shape; integers are returned as they are.

    Raises:
        ValueError: If a value is a fraction, infinite, NaN or no number.

    Example:
        >>> class_ids([0.0, 2.0]).tolist()
        [0, 2]
    """
    array = np.asarray(values)
    if array.dtype.kind in "ui":
        return array
    if array.dtype.kind == "b":
        return array.astype("uint8")
    if array.dtype.kind not in "fV":  # V: bfloat16
        raise ValueError(f"{name} must contain class ids, whole numbers; got {array.dtype}")
    array = array.astype("float32") if array.dtype.kind == "V" else array
    if (broken := ~whole(array)).any():
        counts = dict(zip(*np.unique(array[broken], return_counts=True), strict=True))
        raise ValueError(
            f"{name} must contain class ids, whole numbers; got {listing(counts)}: of scores, pass "
            "scores.argmax(axis=-1), of one channel p > 0.5; resize label maps by nearest neighbor"
        )
    return array.astype("int64")


def refuse_probabilities(y_pred: Any, name: str) -> None:
    """Refuses the output of softmax or sigmoid, where logits are expected.

    Keras attaches the logits to this output, for its own cross-entropy. On JAX it cannot, and later operations lose
    them: such probabilities are not refused.

    Args:
        y_pred: The output of a model, in a training step.
        name: What expects logits, for the error.

    Raises:
        ValueError: If `y_pred` comes from softmax or sigmoid.
    """
    if hasattr(y_pred, "_keras_logits"):
        raise ValueError(
            f"{name} expects logits, but the model ends in probabilities: build it without activation, or give "
            f"{name} from_logits=False"
        )


def whole(values: np.ndarray) -> np.ndarray:
    """Returns which floats are finite whole numbers: bool of the same shape."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & (np.rint(values) == values)


def printable(text: str) -> str:
    """Returns a text without what cannot be printed: the bytes of names that are not UTF-8 become `?`."""
    return text.encode("utf-8", "replace").decode()


def listing(counts: Mapping[Any, int], most: int = 5) -> str:
    """Returns the first values and their numbers of pixels, and how many more values there are."""
    shown = ", ".join(f"{value} ({count} pixels)" for value, count in list(counts.items())[:most])
    more = f" and {len(counts) - most} more" if len(counts) > most else ""
    return shown + more


def is_one_hot(target: Any) -> Any:
    """Returns which pixels of a float32 tensor `(..., C)` are (soft) one-hot labels, or all zero: bool `(...)`.

    The tolerance is that of numbers of 16 bits.
    """
    from keras import ops

    total = ops.sum(target, axis=-1)
    near = (ops.abs(total) <= TOLERANCE) | (ops.abs(total - 1.0) <= TOLERANCE)
    return near & (ops.min(target, axis=-1) >= -TOLERANCE)


def check_names(classes: Iterable[Any], owner: str) -> None:
    """Raises a ValueError that begins with `owner` if class names are empty, occur twice or are no text."""
    seen: dict[str, int] = {}
    for index, name in enumerate(classes):
        if not isinstance(name, str):
            raise ValueError(f"{owner}: class {index} must have a name, a text, got {name!r}")
        key = unicodedata.normalize("NFC", name.strip())
        if not key:
            raise ValueError(f"{owner}: class {index} has an empty name: give each class a name")
        if (first := seen.setdefault(key, index)) != index:
            raise ValueError(f"{owner}: classes {first} and {index} are both called {name!r}: give each its own name")


def check_probabilities(p: np.ndarray) -> None:
    """Raises a ValueError if scores `(..., C)` are not from 0 to 1 or, for C above 1, have another sum than 1.

    The tolerance is that of numbers of 16 bits.
    """
    if p.size == 0:
        return
    low, high = float(p.min()), float(p.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # nor NaN
        cure = "apply softmax to logits" if p.shape[-1] > 1 else "apply sigmoid to logits"
        raise ValueError(f"probabilities must be from 0 to 1, got {low:.3g} to {high:.3g}: {cure}")
    if p.shape[-1] == 1:
        return
    total = p.sum(axis=-1, dtype="float32")
    low, high = float(total.min()), float(total.max())
    if not 1 - TOLERANCE <= low <= high <= 1 + TOLERANCE:
        raise ValueError(
            f"the probabilities of a pixel must have a sum of 1, got {low:.3g} to {high:.3g}: apply softmax to logits"
        )
