"""Pictures of segmentations: uint8 RGB arrays `(H, W, 3)`, drawn with Pillow alone. `Image.fromarray` saves them."""

import colorsys
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

VOID: Color = (0, 0, 0)  # what is not a class
PAPER, INK = (255, 255, 255), (32, 32, 32)
DEEP = np.array([8, 48, 107])  # the dark end of the heat map
# Okabe and Ito's colours, told apart by colour-blind people; their black is void's here, so grey takes its place.
OKABE_ITO: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (153, 153, 153),
)


def default_palette(n: int) -> tuple[Color, ...]:
    """Colours for `n` classes, all different and none black.

    The first eight suit colour-blind people. A longer palette begins with the shorter ones.

    Args:
        n: number of classes.

    Returns:
        `n` triples of 0..255.

    Reference:
        Okabe and Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/

    Example:
        >>> from kseg.visualize import default_palette
        >>> default_palette(2)
        ((0, 114, 178), (230, 159, 0))
        >>> len(set(default_palette(1000)))
        1000
    """
    colors: dict[Color, None] = {}  # a set that keeps the order
    source = _colors()
    while len(colors) < n:
        colors[next(source)] = None
    return tuple(colors)


def _colors() -> Iterator[Color]:
    """Endless colours: Okabe and Ito's, then hues a golden section apart, lighter and darker in turn."""
    yield from OKABE_ITO
    for i in itertools.count():
        saturation, value = ((0.85, 0.9), (0.45, 0.95), (0.9, 0.55))[i % 3]
        r, g, b = colorsys.hsv_to_rgb(i * 0.618033988749895 % 1, saturation, value - 0.2 * (i * 0.7548776662 % 1))
        yield round(255 * r), round(255 * g), round(255 * b)


def colorize(mask: Any, palette: Sequence[Sequence[int]], *, void: Sequence[int] = VOID) -> np.ndarray:
    """A label map in colour.

    Args:
        mask: integers `(H, W)` or `(H, W, 1)`.
        palette: one colour a class.
        void: colour of every other label.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ValueError: if the mask has another shape.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import colorize
        >>> colorize(np.array([[0, 1, 255]]), [(9, 9, 9), (0, 0, 255)]).tolist()
        [[[9, 9, 9], [0, 0, 255], [0, 0, 0]]]
    """
    mask = np.asarray(mask)
    mask = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    if mask.ndim != 2:
        raise ValueError(f"a mask has shape (H, W); got {mask.shape}")
    table = np.array([*palette, void], "uint8")
    inside = (mask >= 0) & (mask < len(palette))
    return table[np.where(inside, mask, len(palette)).astype("int64")]


def rgb(image: Any) -> np.ndarray:
    """An image as uint8 RGB `(H, W, 3)`: gray is repeated, further channels are dropped, values clipped to 0..255."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3:
        raise ValueError(f"an image has shape (H, W) or (H, W, C); got {image.shape}")
    image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype("uint8")


def overlay(image: Any, mask: Any, palette: Sequence[Sequence[int]], *, opacity: float = 0.5) -> np.ndarray:
    """A label map laid over its image; void darkens it.

    Args:
        image: `(H, W, C)` or `(H, W)`, values 0..255.
        mask: integers `(H, W)`.
        palette: one colour a class.
        opacity: 0 shows the image alone, 1 the mask alone.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ValueError: if the sizes differ.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import overlay
        >>> overlay(np.full((1, 1, 3), 100), np.zeros((1, 1), int), [(200, 0, 50)]).tolist()
        [[[150, 50, 75]]]
    """
    image, colors = rgb(image), colorize(mask, palette)
    if image.shape != colors.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, its mask {colors.shape[:2]}")
    return rgb(image * (1.0 - opacity) + colors * opacity)


def legend(
    classes: Sequence[str], palette: Sequence[Sequence[int]], *, columns: int = 1, font_size: int = 16
) -> np.ndarray:
    """Names beside their colours.

    Args:
        classes: names, drawn column by column.
        palette: one colour a class.
        columns: number of columns.
        font_size: height of the letters in pixels.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: if there are fewer colours than names.

    Example:
        >>> from kseg.visualize import default_palette, legend
        >>> legend(["road", "sky"], default_palette(2)).dtype
        dtype('uint8')
    """
    if len(palette) < len(classes):
        raise ValueError(f"{len(classes)} classes need as many colours; the palette has {len(palette)}")
    font, pad = ImageFont.load_default(font_size), font_size // 2
    rows = -(-len(classes) // columns)
    line, swatch = round(1.6 * font_size), round(1.4 * font_size)
    width = max((_width(name, font) for name in classes), default=0) + swatch + 3 * pad
    picture = Image.new("RGB", (max(columns * width, 1), max(rows * line + 2 * pad, 1)), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, color) in enumerate(zip(classes, palette, strict=False)):
        x, y = index // rows * width + pad, index % rows * line + pad
        box = (x, y + 2, x + swatch, y + line - 3)
        draw.rectangle(box, fill=_triple(color), outline=INK)
        draw.text((x + swatch + pad, y + line // 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def grid(
    rows: Sequence[Sequence[Any]],
    *,
    titles: Sequence[str] = (),
    names: Sequence[str] = (),
    footer: Any = None,
    cell_width: int | None = None,
    font_size: int = 16,
    gap: int = 6,
) -> np.ndarray:
    """Pictures in rows and columns: image | label | prediction.

    Args:
        rows: images `(H, W, 3)` (or gray), row by row; colour label maps first. Sizes and row lengths may differ.
        titles: texts above the columns.
        names: texts to the left of the rows.
        footer: a picture to put underneath, such as a `legend`.
        cell_width: resizes every picture to this width (nearest, so that colours of masks stay pure).
        font_size: height of the letters in pixels.
        gap: pixels between pictures and around them.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: if there are more titles than columns or more names than rows.

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
    font = ImageFont.load_default(font_size)
    widths = [
        max([row[c].width for row in pictures if c < len(row)] + [_width(t, font) for t in titles[c : c + 1]])
        for c in range(columns)
    ]
    heights = [max((cell.height for cell in row), default=0) for row in pictures]
    left = gap + max((_width(name, font) + 2 * gap for name in names), default=0)
    top = gap + (round(1.5 * font_size) if titles else 0)
    below = None if footer is None else Image.fromarray(rgb(footer))
    width, height = left + sum(widths) + gap * columns, top + sum(heights) + gap * len(heights)
    size = (max(width, below.width + 2 * gap), height + below.height + gap) if below else (width, height)
    picture = Image.new("RGB", (max(size[0], 1), max(size[1], 1)), PAPER)
    draw = ImageDraw.Draw(picture)

    xs = [left + sum(widths[:c]) + gap * c for c in range(columns)]
    ys = [top + sum(heights[:r]) + gap * r for r in range(len(heights))]
    for x, column, title in zip(xs, widths, titles, strict=False):
        draw.text((x + column // 2, (top + gap // 2) // 2), title, fill=INK, font=font, anchor="mm")
    for y, row_height, name in zip(ys, heights, names, strict=False):
        draw.text((left - 2 * gap, y + row_height // 2), name, fill=INK, font=font, anchor="rm")
    for y, row in zip(ys, pictures, strict=True):
        for x, column, cell in zip(xs, widths, row, strict=False):
            picture.paste(cell, (x + (column - cell.width) // 2, y))
    if below:
        picture.paste(below, (max((width - below.width) // 2, gap), height))
    return np.asarray(picture)


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
    font, small, pad = ImageFont.load_default(font_size), ImageFont.load_default(font_size - 2), font_size
    left = top = max((_width(c, font) for c in classes), default=0) + 4 * pad
    picture = Image.new("RGB", (left + n * cell + pad, top + n * cell + pad), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, j in np.ndindex(n, n):
        x, y, value = left + j * cell, top + i * cell, share[i, j]
        color = np.rint(255 + (DEEP - 255) * np.sqrt(value)) if totals[i] else np.full(3, 225)  # sqrt: faults show
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=_triple(color))
        if totals[i]:
            text = f"{100 * value:.0f}" if value >= 0.005 or value == 0 else "<1"
            ink = PAPER if value > 0.25 else INK
            draw.text((x + cell // 2, y + cell // 2), text, fill=ink, font=small, anchor="mm")
    for i, text in enumerate(classes):
        middle = i * cell + cell // 2
        draw.text((left - pad // 2, top + middle), text, fill=INK, font=font, anchor="rm")
        _upright(picture, text, font, x=left + middle, bottom=top - pad // 2)
    draw.text((left + n * cell // 2, pad), "predicted, % of the true class", fill=INK, font=font, anchor="mm")
    _upright(picture, "true", font, x=pad, bottom=top + n * cell // 2 + font_size)
    return np.asarray(picture)


def _upright(picture: Image.Image, text: str, font: Any, *, x: int, bottom: int) -> None:
    """Writes bottom to top, ending at `bottom`, centred on `x`."""
    height = round(1.4 * font.size)
    strip = Image.new("RGB", (_width(text, font) + 2, height), PAPER)
    ImageDraw.Draw(strip).text((0, height // 2), text, fill=INK, font=font, anchor="lm")
    strip = strip.rotate(90, expand=True)
    picture.paste(strip, (x - strip.width // 2, bottom - strip.height))


def _fit(image: np.ndarray, width: int | None) -> Image.Image:
    picture = Image.fromarray(image)
    width = width or picture.width
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.NEAREST)


def _width(text: str, font: Any) -> int:
    return int(font.getlength(text)) + 1


def _triple(color: Any) -> Color:
    r, g, b = (int(v) for v in color)
    return r, g, b
