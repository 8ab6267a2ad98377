"""A confusion matrix as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from kseg.visualize.text import INK, PAPER, font_of, upright, width_of

DEEP = np.array([8, 48, 107])  # the dark end of the heat map


def confusion_picture(matrix: Any, classes: Sequence[str], *, cell: int = 44, font_size: int = 14) -> np.ndarray:
    """A confusion matrix as a heat map: where the pixels of each true class went, in per cent of its row.

    Args:
        matrix: counts `(C, C)`, rows are the true classes.
        classes: C names.
        cell: side of a cell in pixels.
        font_size: height of the letters in pixels.

    Returns:
        uint8 `(H, W, 3)`: white is 0 %, dark blue 100 %; the rows of absent classes stay gray.

    Raises:
        ValueError: if the matrix is not square with one row a class.

    Example:
        >>> from kseg.visualize import confusion_picture
        >>> confusion_picture([[9, 1], [0, 0]], ["road", "sky"]).dtype
        dtype('uint8')
    """
    counts = np.asarray(matrix, "float64")
    n = len(classes)
    if counts.shape != (n, n):
        raise ValueError(f"{n} classes need a confusion matrix ({n}, {n}); got shape {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    font, small, pad = font_of(font_size), font_of(font_size - 2), font_size
    title = "predicted, % of the true class"
    left = top = max((width_of(c, font) for c in classes), default=0) + 4 * pad
    left = max(left, width_of(title, font) - n * cell)  # of few classes
    picture = Image.new("RGB", (left + n * cell + pad, top + n * cell + pad), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, j in np.ndindex(n, n):
        x, y, value = left + j * cell, top + i * cell, share[i, j]
        color = np.rint(255 + (DEEP - 255) * np.sqrt(value)) if totals[i] else np.full(3, 225)  # sqrt: faults show
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=tuple(color.astype(int).tolist()))
        if totals[i]:
            text = f"{100 * value:.0f}" if value >= 0.005 or value == 0 else "<1"
            ink = PAPER if value > 0.25 else INK
            draw.text((x + cell // 2, y + cell // 2), text, fill=ink, font=small, anchor="mm")
    for i, text in enumerate(classes):
        middle = i * cell + cell // 2
        draw.text((left - pad // 2, top + middle), text, fill=INK, font=font, anchor="rm")
        upright(picture, text, font, x=left + middle, bottom=top - pad // 2)
    middle = min(left + n * cell // 2, picture.width - (pad + width_of(title, font)) // 2)
    draw.text((middle, pad), title, fill=INK, font=font, anchor="mm")
    upright(picture, "true", font, x=pad, bottom=top + n * cell // 2 + font_size)
    return np.asarray(picture)
