"""Label maps as PNG files."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image


def encoded(label: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """Returns a PNG file that shows the palette and holds the class ids; 16-bit gray for uint16."""
    picture = Image.fromarray(label)
    if label.dtype == np.uint8:
        colors = np.zeros((256, 3), "uint8")  # with fewer, PNG files of 4 bits per pixel would lose 255
        colors[: len(palette)] = palette
        picture.putpalette(colors.tobytes())
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
