"""Legends of class colors."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from kseg.visualize._grid import grid
from kseg.visualize.text import INK, PAPER, drawable, font_for, size_for, width_of


def legend(
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    *,
    columns: int | None = None,
    width: int | None = None,
    font_size: int = 16,
) -> np.ndarray:
    """Draws class names beside their colors, in a font that has the letters.

    A name for which no font is found is drawn as its id, e.g. "class 3", and a warning says so.

    Args:
        classes: Names, arranged column by column.
        palette: One color per class.
        columns: Number of columns; None chooses it.
        width: Width in pixels to fill with as many columns as fit, if `columns` is None; without it, the legend is at
            most three times as wide as high.
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
    check_colors(classes, palette)
    names, pad = drawable(classes), font_size // 2
    fonts = [font_for(name, font_size) for name in names]
    line, swatch = round(1.6 * font_size), round(1.4 * font_size)
    lengths = [width_of(name, font) + swatch + 3 * pad for name, font in zip(names, fonts, strict=True)]

    def widths(count: int) -> list[int]:
        rows = -(-len(lengths) // count)
        return [max(lengths[start : start + rows]) for start in range(0, len(lengths), rows or 1)]

    if columns is None:
        fitting = [
            count
            for count in range(1, len(lengths) + 1)
            if sum(widths(count)) <= (3 * (-(-len(lengths) // count) * line + 2 * pad) if width is None else width)
        ]
        columns = max(fitting, default=1)
    rows, across = -(-len(classes) // columns), widths(columns)
    picture = Image.new("RGB", (max(sum(across), 1), max(rows * line + 2 * pad, 1)), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, font, color) in enumerate(zip(names, fonts, palette, strict=False)):
        x, y = sum(across[: index // rows]) + pad, index % rows * line + pad
        red, green, blue = map(int, color)
        draw.rectangle((x, y + 2, x + swatch, y + line - 3), fill=(red, green, blue), outline=INK)
        draw.text((x + swatch + pad, y + line // 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def check_colors(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> None:
    """Raises a ValueError if there are fewer colors than names."""
    if len(palette) < len(classes):
        raise ValueError(f"{len(classes)} classes need as many colors; the palette has {len(palette)}")


def with_legend(picture: np.ndarray, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Puts a legend below a picture, in as many columns as fit its width; without names, returns the picture.

    Example:
        >>> with_legend(np.zeros((100, 200, 3), "uint8"), ["sky"], [(0, 0, 255)]).shape[1]
        200
    """
    if not classes:
        return picture
    width = picture.shape[1]
    names = legend(classes, palette, width=width, font_size=size_for(width))
    return grid([[picture]], footer=names, gap=0)
