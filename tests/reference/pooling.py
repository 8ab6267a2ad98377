"""Max pooling with positions and its unpooling, window by window. Images are (rows, columns, channels)."""

import math

import numpy as np


def max_pool(image: np.ndarray, pool: int, padding: str) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and their positions in the window, row by row; the first of equals."""
    height, width, channels = image.shape
    count = math.ceil if padding == "ceil" else math.floor
    shape = (count(height / pool), count(width / pool), channels)
    maxima, places = np.zeros(shape, image.dtype), np.zeros(shape, "int32")
    for i, j, c in np.ndindex(shape):
        best = None
        for v in range(pool):
            for u in range(pool):
                row, column = i * pool + v, j * pool + u
                if row < height and column < width and (best is None or image[row, column, c] > best):
                    best = image[row, column, c]
                    maxima[i, j, c], places[i, j, c] = best, v * pool + u
    return maxima, places


def max_unpool(values: np.ndarray, places: np.ndarray, pool: int, height: int, width: int) -> np.ndarray:
    """Zeros, and every value where its maximum was."""
    out = np.zeros((height, width, values.shape[2]), values.dtype)
    for i, j, c in np.ndindex(values.shape):
        v, u = divmod(int(places[i, j, c]), pool)
        out[i * pool + v, j * pool + u, c] = values[i, j, c]
    return out
