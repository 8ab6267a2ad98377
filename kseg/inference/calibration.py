"""Images that set the ranges of a network's activations in int8."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kseg.data import Dataset

COUNT = 64
"""Number of images of a data set that are used."""
SIDE = 1024
"""Largest height and width in pixels; of larger images, the center is used."""


def spread(count: int) -> list[int]:
    """Returns at most `COUNT` indices below `count`, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, COUNT)).round().astype(int)).tolist()


def calibration_images(
    sources: Dataset | Iterable[Any], read: Callable[[Any], np.ndarray], size: Sequence[int | None], step: int = 1
) -> list[np.ndarray]:
    """Returns images `(H, W, C)` for calibration.

    Args:
        sources: A data set, of which `COUNT` images spread evenly are used, or anything that `read` takes.
        read: A function that returns an image `(H, W, C)`.
        size: Height and width of the images that the network takes; None for any.
        step: The number that must divide those that are not fixed.

    Raises:
        ValueError: If there are no images.
    """
    if isinstance(sources, Dataset):
        sources = [sources[index][0] for index in spread(len(sources))]
    images = [fitted(read(source), size, step) for source in sources]
    if not images:
        raise ValueError("there are no images for calibration")
    return images


def fitted(array: np.ndarray, size: Sequence[int | None], step: int = 1) -> np.ndarray:
    """Returns the center of an image or a label map, padded to the size that the network takes.

    Args:
        array: An image `(H, W, C)` or a label map `(H, W)`.
        size: Height and width; None for any up to `SIDE`.
        step: The number that must divide those that are not fixed.
    """
    sides = [min(given, side or SIDE) for given, side in zip(array.shape, size, strict=False)]
    top, left = ((given - side) // 2 for given, side in zip(array.shape, sides, strict=False))
    array = array[top : top + sides[0], left : left + sides[1]]
    missing = [(0, side - given if side else -given % step) for side, given in zip(size, array.shape[:2], strict=True)]
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], mode="edge")
