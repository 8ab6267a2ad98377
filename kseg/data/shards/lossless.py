"""Arrays as files without loss: PNG where that can hold them, else NumPy's format."""

import io
from typing import Any

import numpy as np
from PIL import Image

from kseg.data.decoding.decoded import Content

PNG = b"\x89PNG"


def read_array(content: Any) -> np.ndarray:
    """Reads an array `(H, W, C)` that was saved without loss."""
    if content.getvalue()[: len(PNG)] != PNG:
        found: np.ndarray = np.load(content, allow_pickle=False)
        return found
    array = np.array(Image.open(content))
    return array if array.ndim == 3 else array[..., None]


def saved(name: str, array: np.ndarray) -> Content:
    """Returns an array `(H, W, C)` as a PNG file if that can hold it, else as a file of NumPy."""
    content = io.BytesIO()
    if array.dtype != np.uint8 or array.shape[-1] not in (1, 3):
        np.save(content, array, allow_pickle=False)
        return Content(f"{name}.npy", content.getvalue())
    Image.fromarray(array if array.shape[-1] == 3 else array[..., 0]).save(content, "png")
    return Content(f"{name}.png", content.getvalue())
