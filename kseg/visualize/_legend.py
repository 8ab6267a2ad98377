"""Legends of class colors."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kseg.visualize._grid import grid
from kseg.visualize.text import INK, PAPER, size_for, width_of


def legend(
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    *,
    columns: int = 1,
    width: int | None = None,
    font_size: int = 16,
) -> np.ndarray:
    """Draws class names beside their colors.

    Args:
        classes: Names, arranged column by column.
        palette: One color per class.
        columns: Number of columns.
        width: Width in pixels to fill with as many columns as fit, instead of `columns`.
        font_size: Height of the letters in pixels.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: If there are fewer colors than names.

    Example:
        >>> from kseg.visualize import default_palette, legend
        >>> legend(["road", "sky"], default_palette(2)).dtype
        dtype('uint8')
    """
    if len(palette) < len(classes):
        raise ValueError(f"{len(classes)} classes need as many colors; the palette has {len(palette)}")
    font, pad = ImageFont.load_default(font_size), font_size // 2
    line, swatch = round(1.6 * font_size), round(1.4 * font_size)
    column = max((width_of(name, font) for name in classes), default=0) + swatch + 3 * pad
    if width is not None:
        columns = min(max(width // column, 1), max(len(classes), 1))
    rows = -(-len(classes) // columns)
    columns = -(-len(classes) // max(rows, 1)) if width is not None else columns  # no empty column
    picture = Image.new("RGB", (max(columns * column, 1), max(rows * line + 2 * pad, 1)), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, color) in enumerate(zip(classes, palette, strict=False)):
        x, y = index // rows * column + pad, index % rows * line + pad
        red, green, blue = map(int, color)
        draw.rectangle((x, y + 2, x + swatch, y + line - 3), fill=(red, green, blue), outline=INK)
        draw.text((x + swatch + pad, y + line // 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def with_legend(picture: np.ndarray, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Puts a legend below a picture, as wide as the picture or one column of the legend, whichever is wider.

    Example:
        >>> with_legend(np.zeros((100, 200, 3), "uint8"), ["sky"], [(0, 0, 255)]).shape[1]
        200
    """
    width = picture.shape[1]
    names = legend(classes, palette, width=width, font_size=size_for(width))
    return grid([[picture]], footer=names, gap=0)
