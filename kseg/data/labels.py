"""Label maps in other forms and back: one-hot, RGB colours, merged or renumbered classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from kseg.data.masks import IGNORE, MaskReader


def one_hot(label: np.ndarray, num_classes: int, *, ignore_class: int | None = IGNORE) -> np.ndarray:
    """Turns ids into one-hot targets.

    Args:
        label: Integers of any shape, e.g. `(N, H, W)`.
        num_classes: Classes.
        ignore_class: Label of void pixels, which become all zero, as `kseg.losses` reads them; None where none are.

    Returns:
        float32 of that shape and `num_classes` more.

    Raises:
        ValueError: A label is neither a class nor void; how many pixels have it.

    Example:
        >>> one_hot(np.array([1, 255, 0]), 2).tolist()
        [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    label = np.asarray(label)
    void = np.zeros(label.shape, bool) if ignore_class is None else label == ignore_class
    _refuse(label, ~void & ((label < 0) | (label >= num_classes)), f"the classes 0 to {num_classes - 1}")
    table = np.vstack([np.eye(num_classes, dtype="float32"), np.zeros((1, num_classes), "float32")])
    return table[np.where(void, num_classes, label).astype(np.intp)]


def from_one_hot(target: np.ndarray, *, ignore_class: int = IGNORE) -> np.ndarray:
    """Turns one-hot targets (or scores) into ids: the largest entry, void where all are zero.

    Args:
        target: `(..., num_classes)`, up to 255 classes.
        ignore_class: Label of void pixels.

    Returns:
        uint8 `(...)`.

    Raises:
        ValueError: There are more classes.

    Example:
        >>> from_one_hot(np.array([[0, 1], [0, 0], [1, 0]])).tolist()
        [1, 255, 0]
    """
    target = np.asarray(target)
    if target.shape[-1] > 255:
        raise ValueError(f"{target.shape[-1]} classes do not fit uint8, whose 255 is void: 255 are the most")
    return np.where(target.any(axis=-1), target.argmax(axis=-1), ignore_class).astype("uint8")


def from_rgb(
    picture: np.ndarray, palette: Sequence[Sequence[int]], *, ignore: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    """Turns an RGB-coded mask into ids.

    Args:
        picture: uint8 `(H, W, 3)`.
        palette: One (R, G, B) a class.
        ignore: Colours that mean void.

    Returns:
        uint8 `(H, W)`, 255 where void.

    Raises:
        ValueError: A colour is neither in the palette nor void; how many pixels have it.

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
    """Turns ids into RGB colours; `from_rgb` turns them back if every colour stands for one thing.

    Args:
        label: Integers of any shape, e.g. `(H, W)`.
        palette: One (R, G, B) a class.
        void: The colour of void pixels.
        ignore_class: Label of void pixels.

    Returns:
        uint8 of that shape and 3 more.

    Raises:
        ValueError: A label is neither a class nor void; how many pixels have it.

    Example:
        >>> to_rgb(np.array([[1, 255]]), [(0, 0, 0), (9, 0, 0)], void=(7, 7, 7)).tolist()
        [[[9, 0, 0], [7, 7, 7]]]
    """
    label = np.asarray(label)
    empty = np.zeros(label.shape, bool) if ignore_class is None else label == ignore_class
    _refuse(label, ~empty & ((label < 0) | (label >= len(palette))), f"the palette of {len(palette)} colours")
    colours = np.array([*palette, void], "uint8")
    return colours[np.where(empty, len(palette), label).astype(np.intp)]


def remap(label: np.ndarray, mapping: Mapping[int, int], *, ignore_class: int | None = IGNORE) -> np.ndarray:
    """Renumbers or merges classes.

    Args:
        label: Integers of any shape.
        mapping: Old id -> new id, of every class that occurs; several may become one, or `ignore_class`.
        ignore_class: Label of void pixels, which stays unless the mapping names it.

    Returns:
        uint8 of that shape.

    Raises:
        ValueError: A label is not in the mapping, and how many pixels have it; or a new id does not fit uint8.

    Example:
        >>> remap(np.array([0, 1, 2, 255]), {0: 0, 1: 1, 2: 1}).tolist()
        [0, 1, 1, 255]
    """
    label = np.asarray(label)
    mapping = ({} if ignore_class is None else {ignore_class: ignore_class}) | dict(mapping)
    if wrong := [new for new in mapping.values() if not 0 <= new <= 255]:
        raise ValueError(f"new ids are 0 to 255, got {wrong[0]}")
    present, places = np.unique(label, return_inverse=True)
    _refuse(label, ~np.isin(label, list(mapping)), "the mapping")
    table = np.array([mapping[int(value)] for value in present], "uint8")
    return table[places].reshape(label.shape)


def _refuse(label: np.ndarray, stray: np.ndarray, known: str) -> None:
    if stray.any():
        values, counts = np.unique(label[stray], return_counts=True)
        told = ", ".join(f"{value} ({count} pixels)" for value, count in zip(values[:5], counts[:5], strict=True))
        more = f" and {len(values) - 5} more" if len(values) > 5 else ""
        raise ValueError(f"labels {told}{more} are outside {known}: correct them, or make them void")
