"""Conversions of label maps: one-hot, RGB colors, merged or renumbered classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kseg.classes import class_ids, listing
from kseg.data.masks import IGNORE, MaskReader


def one_hot(label: np.ndarray, num_classes: int, *, ignore_class: int | None = IGNORE) -> np.ndarray:
    """Converts class ids to one-hot targets.

    Args:
        label: Integers of any shape, e.g. `(N, H, W)`.
        num_classes: Number of classes.
        ignore_class: Label of void pixels, whose target is all zero, as `kseg.losses` expects. `None` if there are
            no void pixels.

    Returns:
        float32 array of shape `label.shape + (num_classes,)`.

    Raises:
        ValueError: If a label is neither a class nor void, or a fraction.

    Example:
        >>> one_hot(np.array([1, 255, 0]), 2).tolist()
        [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    rows = np.eye(num_classes + 1, num_classes, dtype="float32")  # the last one, for void, is zero
    return rows[_rows(label, num_classes, ignore_class, f"the classes 0 to {num_classes - 1}")]


def from_one_hot(target: np.ndarray, *, ignore_class: int = IGNORE) -> np.ndarray:
    """Converts one-hot targets or scores to class ids.

    Args:
        target: Array `(..., num_classes)` with at most 255 classes.
        ignore_class: Label of pixels whose target is all zero.

    Returns:
        uint8 array `(...)`: the index of the largest entry.

    Raises:
        ValueError: If there are more than 255 classes, a score is NaN, or an integer is neither 0 nor 1.

    Example:
        >>> from_one_hot(np.array([[0, 1], [0, 0], [1, 0]])).tolist()
        [1, 255, 0]
    """
    target = np.asarray(target)
    if target.shape[-1] > 255:
        raise ValueError(f"{target.shape[-1]} classes do not fit uint8, where 255 is void: pass at most 255")
    broken = np.isnan(target) if target.dtype.kind == "f" else (target != 0) & (target != 1)
    if broken.any():
        found = dict(zip(*np.unique(target[broken], return_counts=True), strict=True))
        raise ValueError(
            f"integers must be 0 or 1 (one-hot) and scores must be numbers, got {listing(found)}: convert colors by "
            "from_rgb, and pass scores as floats"
        )
    return np.where(target.any(axis=-1), target.argmax(axis=-1), ignore_class).astype("uint8")


def from_rgb(
    picture: np.ndarray, palette: Sequence[Sequence[int]], *, ignore: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    """Converts an RGB mask to class ids.

    Args:
        picture: uint8 array `(H, W, 3)`.
        palette: One `(red, green, blue)` color per class.
        ignore: Colors of void pixels.

    Returns:
        uint8 array `(H, W)`, 255 where void.

    Raises:
        ValueError: If a color is neither in the palette nor void.

    Example:
        >>> from_rgb(np.array([[[9, 0, 0], [0, 0, 0]]], "uint8"), [(0, 0, 0), (9, 0, 0)]).tolist()
        [[1, 0]]
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"an RGB mask is uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    reader = MaskReader([str(index) for index in range(len(palette))], palette, ignore=ignore)
    return reader.decode(picture, "the mask")


def to_rgb(
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    *,
    void: Sequence[int] = (0, 0, 0),
    ignore_class: int | None = IGNORE,
) -> np.ndarray:
    """Converts class ids to RGB colors. `from_rgb` is the inverse if all colors differ.

    Args:
        label: Integers of any shape, e.g. `(H, W)`.
        palette: One `(red, green, blue)` color per class.
        void: The color of void pixels.
        ignore_class: Label of void pixels. `None` if there are none.

    Returns:
        uint8 array of shape `label.shape + (3,)`.

    Raises:
        ValueError: If a label is neither a class nor void.

    Example:
        >>> to_rgb(np.array([[1, 255]]), [(0, 0, 0), (9, 0, 0)], void=(7, 7, 7)).tolist()
        [[[9, 0, 0], [7, 7, 7]]]
    """
    colors = np.array([*palette, void], "uint8")
    return colors[_rows(label, len(palette), ignore_class, f"the palette of {len(palette)} colors")]


def remap(label: np.ndarray, mapping: Mapping[int, int], *, ignore_class: int | None = IGNORE) -> np.ndarray:
    """Renumbers or merges classes.

    Args:
        label: Integers of any shape.
        mapping: Maps the id of every class that occurs to its new id. Several classes can share a new id, and a new
            id can be `ignore_class`.
        ignore_class: Label of void pixels, which is kept unless the mapping contains it. `None` if there are none.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: If a label is not in the mapping or a new id does not fit uint8.

    Example:
        >>> remap(np.array([0, 1, 2, 255]), {0: 0, 1: 1, 2: 1}).tolist()
        [0, 1, 1, 255]
    """
    label = class_ids(label)
    mapping = ({} if ignore_class is None else {ignore_class: ignore_class}) | dict(mapping)
    if wrong := [new for new in mapping.values() if not 0 <= new <= 255]:
        raise ValueError(f"new ids must be 0 to 255, got {wrong[0]}")
    present, places = np.unique(label, return_inverse=True)
    _refuse(label, ~np.isin(label, list(mapping)), "the mapping")
    table = np.array([mapping[int(value)] for value in present], "uint8")
    return table[places].reshape(label.shape)


def _rows(label: np.ndarray, count: int, ignore_class: int | None, known: str) -> NDArray[np.intp]:
    """Returns the row of each pixel in a table of `count` classes followed by void."""
    label = class_ids(label)
    void = np.zeros(label.shape, bool) if ignore_class is None else label == ignore_class
    _refuse(label, ~void & ((label < 0) | (label >= count)), known)
    return np.where(void, count, label).astype(np.intp)


def _refuse(label: np.ndarray, stray: np.ndarray, known: str) -> None:
    if stray.any():
        counts = dict(zip(*np.unique(label[stray], return_counts=True), strict=True))
        raise ValueError(f"labels {listing(counts)} are outside {known}: correct them or set them to void")
