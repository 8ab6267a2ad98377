"""Resizing. Images are (rows, columns, channels)."""

import math

import numpy as np


def positions(source: int, target: int, align_corners: bool = False) -> list[float]:
    """Positions of the target's pixel centers on the source's axis."""
    if align_corners:
        return [i * (source - 1) / max(target - 1, 1) for i in range(target)]
    return [(i + 0.5) * source / target - 0.5 for i in range(target)]


def sample(image: np.ndarray, rows: list[float], columns: list[float]) -> np.ndarray:
    """Bilinear interpolation at rows x columns; beyond the border its value is repeated."""
    weights = [
        np.maximum(1 - np.abs(np.clip(at, 0, size - 1)[:, None] - np.arange(size)), 0)
        for at, size in zip((rows, columns), image.shape[:2], strict=True)
    ]
    return np.einsum("ir,jc,rcd->ijd", *weights, image, optimize=True)


def bilinear(image: np.ndarray, height: int, width: int, align_corners: bool = False) -> np.ndarray:
    rows = positions(image.shape[0], height, align_corners)
    return sample(image, rows, positions(image.shape[1], width, align_corners))


def nearest(image: np.ndarray, height: int, width: int, align_corners: bool = False) -> np.ndarray:
    """The source pixel with the nearest center; halves are rounded up."""
    out = np.zeros((height, width, image.shape[2]), image.dtype)
    for i, row in enumerate(positions(image.shape[0], height, align_corners)):
        for j, column in enumerate(positions(image.shape[1], width, align_corners)):
            # Slightly more than a half, because the positions themselves are rounded.
            out[i, j] = image[math.floor(row + 0.5 + 1e-9), math.floor(column + 0.5 + 1e-9)]
    return out
