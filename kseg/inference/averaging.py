"""Averages of probabilities over scales and mirrored copies of images (test-time augmentation)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FLIPS: dict[bool | str, tuple[tuple[int, int], ...]] = {
    False: ((1, 1),),
    True: ((1, 1), (1, -1)),
    "horizontal": ((1, 1), (1, -1)),
    "vertical": ((1, 1), (-1, 1)),
    "both": ((1, 1), (1, -1), (-1, 1), (-1, -1)),
}
"""Steps along rows and columns with which an image is predicted, for each value of `flip`."""


def mean_probabilities(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, scales: Sequence[float], flip: bool | str
) -> np.ndarray:
    """Returns the mean of the probabilities over scales and flips, `(N, H, W, num_classes)`, at the size of the images.

    `predict` maps images `(N, H, W, C)` of any size to probabilities at that size.
    """
    size = images.shape[1:3]
    total: Any = None
    share = np.float32(1 / (len(scales) * len(FLIPS[flip])))
    for scale in scales:
        scaled = _resized(images, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        for down, along in FLIPS[flip]:
            p = _resized(predict(scaled[:, ::down, ::along]), size)[:, ::down, ::along] * share
            total = p if total is None else np.add(total, p, out=total)
    return total


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes `(N, H, W, C)` bilinearly, with the positions of `keras.ops.image.resize`."""
    if images.shape[1:3] == size:
        return images
    images = np.asarray(images, "float32")
    for axis, new in zip((1, 2), size, strict=True):
        if new != (old := images.shape[axis]):
            place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
            lower = np.minimum(place.astype(int), max(0, old - 2))
            share = (place - lower).astype("float32").reshape(-1, *[1] * (3 - axis))
            below = images.take(lower, axis)
            images = below + share * (images.take(np.minimum(lower + 1, old - 1), axis) - below)
    return images
