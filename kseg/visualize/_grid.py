"""Pictures in rows and columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from kseg.visualize.color import rgb
from kseg.visualize.text import INK, PAPER, fitting, font_for, size_for, width_of


def grid(
    rows: Sequence[Sequence[Any]],
    *,
    titles: Sequence[str] = (),
    names: Sequence[str] = (),
    footer: Any = None,
    cell_width: int | None = None,
    font_size: int | None = None,
    gap: int = 6,
) -> np.ndarray:
    """Arranges pictures in rows and columns, for example image | label | prediction.

    Args:
        rows: Images `(H, W, 3)` or gray, row by row; apply `colorize` to label maps. Sizes and row lengths may differ.
        titles: Texts above the columns.
        names: Texts to the left of the rows.
        footer: A picture below all others, or a function that draws it for the width of the others, in pixels, such as
            `lambda width: legend(classes, palette, width=width)`.
        cell_width: Width to which every picture is resized by nearest neighbor; None keeps the sizes.
        font_size: Height of the letters in pixels; None derives it from the widest picture.
        gap: Pixels between pictures and around them.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: If there are more titles than columns or more names than rows.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import grid
        >>> grid([[np.zeros((20, 30, 3))] * 2] * 3, gap=10).shape        # 3*20 + 4*10, 2*30 + 3*10
        (100, 90, 3)
    """
    pictures = [[_fit(rgb(cell), cell_width) for cell in row] for row in rows]
    columns = max(map(len, pictures), default=0)
    if len(titles) > columns or len(names) > len(pictures):
        raise ValueError(f"{len(titles)} titles and {len(names)} names for {columns} columns and {len(pictures)} rows")
    if font_size is None:
        font_size = size_for(max((cell.width for row in pictures for cell in row), default=0))
    titles, names = [fitting(title) for title in titles], [fitting(name) for name in names]
    fonts = {text: font_for(text, font_size) for text in (*titles, *names)}
    widths = [
        max(
            [row[c].width for row in pictures if c < len(row)]
            + [width_of(t, fonts[t]) + gap for t in titles[c : c + 1]]
        )
        for c in range(columns)
    ]
    heights = [max((cell.height for cell in row), default=0) for row in pictures]
    left = gap + max((width_of(name, fonts[name]) + 2 * gap for name in names), default=0)
    top = gap + (round(1.5 * font_size) if titles else 0)
    width, height = left + sum(widths) + gap * columns, top + sum(heights) + gap * len(heights)
    footer = footer(width - 2 * gap) if callable(footer) else footer
    below = None if footer is None else Image.fromarray(rgb(footer))
    size = (max(width, below.width + 2 * gap), height + below.height + gap) if below else (width, height)
    picture = Image.new("RGB", (max(size[0], 1), max(size[1], 1)), PAPER)
    draw = ImageDraw.Draw(picture)

    left += (picture.width - width) // 2  # centered above a wider footer
    xs = [left + sum(widths[:c]) + gap * c for c in range(columns)]
    ys = [top + sum(heights[:r]) + gap * r for r in range(len(heights))]
    for x, column, title in zip(xs, widths, titles, strict=False):
        draw.text((x + column // 2, (top + gap // 2) // 2), title, fill=INK, font=fonts[title], anchor="mm")
    for y, row_height, name in zip(ys, heights, names, strict=False):
        draw.text((left - 2 * gap, y + row_height // 2), name, fill=INK, font=fonts[name], anchor="rm")
    for y, row in zip(ys, pictures, strict=True):
        for x, column, cell in zip(xs, widths, row, strict=False):
            picture.paste(cell, (x + (column - cell.width) // 2, y))
    if below:
        picture.paste(below, ((picture.width - below.width) // 2, height))
    return np.asarray(picture)


def _fit(image: np.ndarray, width: int | None) -> Image.Image:
    picture = Image.fromarray(image)
    width = width or picture.width
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.NEAREST)
