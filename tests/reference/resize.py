"""Resizing, pixel by pixel. Images are (rows, columns, channels)."""

import math

import numpy as np


def positions(source: int, target: int, align_corners: bool = False) -> list[float]:
    """Positions of the target's pixel centers on the source's axis."""
    if align_corners:
        return [i * (source - 1) / max(target - 1, 1) for i in range(target)]
    return [(i + 0.5) * source / target - 0.5 for i in range(target)]


def sample(image: np.ndarray, rows: list[float], columns: list[float]) -> np.ndarray:
    """Bilinear interpolation at rows x columns; beyond the border its value is repeated."""
    image = image.astype("float64")
    height, width, channels = image.shape
    out = np.zeros((len(rows), len(columns), channels))
    for i, row in enumerate(min(max(r, 0.0), height - 1.0) for r in rows):
        for j, column in enumerate(min(max(c, 0.0), width - 1.0) for c in columns):
            top, left = math.floor(row), math.floor(column)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            v, u = row - top, column - left
            out[i, j] = (1 - v) * ((1 - u) * image[top, left] + u * image[top, right]) + v * (
                (1 - u) * image[bottom, left] + u * image[bottom, right]
            )
    return out


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
