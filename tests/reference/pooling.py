"""Max unpooling, window by window. Images are (rows, columns, channels)."""

import numpy as np


def max_unpool(values: np.ndarray, places: np.ndarray, pool: int, height: int, width: int) -> np.ndarray:
    """Zeros, and every value where its maximum was."""
    out = np.zeros((height, width, values.shape[2]), values.dtype)
    for i, j, c in np.ndindex(values.shape):
        v, u = divmod(int(places[i, j, c]), pool)
        out[i * pool + v, j * pool + u, c] = values[i, j, c]
    return out
