"""A label map as a palette picture, over its image, and in numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg import visualize

VOID = 255
LONGEST = 4096
"""Overlays are for looking at: those of larger images are made of every second, third, ... pixel."""


def palette_picture(label: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """A label map as a PIL image that shows colours and keeps the ids: it loads back as labels.

    Args:
        label: uint8 `(H, W)`, ids and 255; or uint16, which becomes 16-bit gray, for palettes end at 256 colours.
        palette: One (R, G, B), 0 to 255, a class.

    Returns:
        An image of mode P (or I;16), to be saved as PNG.

    Example:
        >>> picture = palette_picture(np.array([[0, 1, 255]], "uint8"), [(9, 9, 9), (0, 0, 255)])
        >>> np.asarray(picture).tolist(), np.asarray(picture.convert("RGB"))[0, 1].tolist()
        ([[0, 1, 255]], [0, 0, 255])
    """
    picture = Image.fromarray(label)
    if label.dtype == np.uint8:
        colors = np.zeros((VOID + 1, 3), "uint8")  # all 256: with fewer, PNGs of 4 bits a pixel would cut 255 off
        colors[: len(palette)] = palette
        picture.putpalette(colors.tobytes())
    return picture


def overlay_picture(
    image: np.ndarray, label: np.ndarray, classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """A label map laid over its image, with a legend of the classes that occur underneath.

    Args:
        image: uint8 `(H, W, 3)`, or `(H, W, 1)` if gray.
        label: Integers `(H, W)`.
        classes: Names in the order of their ids.
        palette: One (R, G, B), 0 to 255, a class.

    Returns:
        uint8 `(h, w, 3)`, no side of the image longer than `LONGEST`.
    """
    step = -(-max(label.shape) // LONGEST)
    label = label[::step, ::step]
    picture = visualize.overlay(image[::step, ::step], label, palette)
    present = [index for index in np.unique(label) if index < len(classes)]
    names, colors = [classes[index] for index in present], [palette[index] for index in present]
    return visualize.with_legend(picture, names, colors) if names else picture


def class_areas(label: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """How much of a label map each class takes.

    Args:
        label: Integers `(H, W)`, below 65536.
        classes: Names in the order of their ids.

    Returns:
        A row a class: `id`, `class`, `pixels`, and `share` of all pixels.

    Example:
        >>> class_areas(np.array([[0, 1, 1, 1]]), ["road", "sky"])[1]
        {'id': 1, 'class': 'sky', 'pixels': 3, 'share': 0.75}
    """
    counts = np.zeros(2**16, "int64")
    for rows in np.array_split(label, -(-label.size // 2**22)):  # bincount makes int64 of its input
        counts += np.bincount(rows.reshape(-1), minlength=2**16)
    return [
        {"id": index, "class": name, "pixels": int(counts[index]), "share": round(int(counts[index]) / label.size, 6)}
        for index, name in enumerate(classes)
    ]
