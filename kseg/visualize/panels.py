"""One panel per class."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kseg.visualize._grid import grid
from kseg.visualize._overlay import borders
from kseg.visualize.color import blend, colorize, dim, plane, rgb
from kseg.visualize.text import INK, PAPER, drawable

BOX = Image.Resampling.BOX  # averages when shrinking, repeats pixels when enlarging
# From 0 to 1, increasing in lightness, so that the scale works without color.
HEAT = np.array([[10, 15, 60], [85, 45, 140], [190, 75, 115], [245, 150, 60], [255, 245, 160]])


def class_panels(
    image: Any,
    mask: Any,
    palette: Sequence[Sequence[int]],
    classes: Sequence[str],
    *,
    only: Iterable[str] | None = None,
    columns: int = 4,
    panel_width: int = 320,
) -> np.ndarray:
    """Draws one panel per class: its pixels in its color over the dimmed image, titled with its name and share.

    Args:
        image: `(H, W, C)` or `(H, W)`, values 0 to 255.
        mask: Integers `(H, W)` or `(H, W, 1)`.
        palette: One color per class.
        classes: Class names.
        only: Names of the classes to show; None shows all.
        columns: Panels per row.
        panel_width: Width in pixels to which the image is resized.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: If the sizes differ, there are fewer colors than names, or `only` has an unknown name.

    Example:
        >>> from kseg.visualize import class_panels, default_palette
        >>> mask = np.array([[0, 1], [1, 1]])
        >>> class_panels(np.zeros((2, 2, 3)), mask, default_palette(2), ["road", "sky"]).dtype
        dtype('uint8')
    """
    image, mask = rgb(image), plane(mask)
    if image.shape[:2] != mask.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, its mask {mask.shape}")
    if len(palette) < len(classes):
        raise ValueError(f"{len(classes)} classes need as many colors; the palette has {len(palette)}")
    shares = [np.count_nonzero(mask == index) / max(mask.size, 1) for index in range(len(classes))]
    size = _size(mask.shape, panel_width)
    image = np.asarray(Image.fromarray(image).resize(size, BOX))
    across, down = ((np.arange(new) + 0.5) * old / new for new, old in zip(size, mask.shape[::-1], strict=True))
    mask = mask[down.astype(int)[:, None], across.astype(int)]
    dimmed, tinted = dim(image), blend(image, colorize(mask, palette), 0.6)
    panels, names = [], drawable(classes)
    for index in _chosen(classes, only):
        inside = mask == index
        panel = np.where(inside[..., None], tinted, dimmed)
        panel[borders(inside)] = PAPER  # class colors may be as dark as the image
        panels.append((f"{names[index]}  {100 * shares[index]:.1f} %", panel))
    return _arranged(panels, columns)


def probability_panels(
    image: Any,
    probabilities: Any,
    classes: Sequence[str],
    *,
    only: Iterable[str] | None = None,
    columns: int = 4,
    panel_width: int = 320,
) -> np.ndarray:
    """Draws one panel per class: its probability as a heat map over the dimmed image.

    Args:
        image: `(H, W, C)` or `(H, W)`, values 0 to 255.
        probabilities: Floats `(H, W, C)`, 0 to 1; a single channel is the probability of the second of two classes.
        classes: One name per channel.
        only: Names of the classes to show; None shows all.
        columns: Panels per row.
        panel_width: Width in pixels to which the image is resized.

    Returns:
        uint8 `(H, W, 3)`, white background, with a scale at the bottom.

    Raises:
        ValueError: If sizes or class counts differ, values are not probabilities, or `only` has an unknown name.

    Example:
        >>> from kseg.visualize import probability_panels
        >>> probability_panels(np.zeros((2, 2, 3)), np.full((2, 2, 1), 0.3), ["road", "sky"]).dtype
        dtype('uint8')
    """
    image, probabilities = rgb(image), np.asarray(probabilities)
    if probabilities.ndim != 3 or image.shape[:2] != probabilities.shape[:2]:
        raise ValueError(f"the image is {image.shape[:2]} pixels, its probabilities have shape {probabilities.shape}")
    channels = probabilities.shape[-1]
    if len(classes) != channels and not (channels == 1 and len(classes) == 2):
        raise ValueError(f"{len(classes)} classes do not fit probabilities of {channels} channels")
    low, high = probabilities.min(initial=0), probabilities.max(initial=1)
    if not (low >= -0.001 and high <= 1.001):
        raise ValueError(f"probabilities must be from 0 to 1, got {low:.3g} to {high:.3g}: apply softmax to logits")
    size = _size(image.shape, panel_width)
    dimmed = dim(np.asarray(Image.fromarray(image).resize(size, BOX)))
    panels, names = [], drawable(classes)
    for index in _chosen(classes, only):
        p = probabilities[..., min(index, channels - 1)].astype("float32")
        p = 1 - p if channels < len(classes) and index == 0 else p
        p = np.asarray(Image.fromarray(p).resize(size, BOX))
        opacity = 0.3 + 0.6 * p[..., None]  # the image shows where the class is absent
        panels.append((names[index], rgb(dimmed * (1 - opacity) + heat(p) * opacity)))
    return _arranged(panels, columns, footer=_scale(size[0]))


def heat(values: np.ndarray) -> np.ndarray:
    """Returns values `(H, W)` from 0 to 1 as colors from dark blue to light yellow: uint8 `(H, W, 3)`."""
    steps = np.linspace(0, 1, len(HEAT))
    return np.rint(np.stack([np.interp(values, steps, channel) for channel in HEAT.T], axis=-1)).astype("uint8")


def _size(shape: Sequence[int], width: int) -> tuple[int, int]:
    return width, max(1, round(shape[0] * width / shape[1]))


def _chosen(classes: Sequence[str], only: Iterable[str] | None) -> list[int]:
    if only is None:
        return list(range(len(classes)))
    for name in (only := list(only)):
        if name not in classes:
            raise ValueError(f"only: no class {name!r} among {', '.join(classes)}")
    return [list(classes).index(name) for name in only]


def _arranged(panels: list[tuple[str, np.ndarray]], columns: int, footer: np.ndarray | None = None) -> np.ndarray:
    cells = [grid([[panel]], titles=[name], gap=3) for name, panel in panels]
    return grid([cells[i : i + columns] for i in range(0, len(cells), columns)], footer=footer)


def _scale(width: int) -> np.ndarray:
    """Draws the color scale from 0 to 1."""
    bar, font = heat(np.tile(np.linspace(0, 1, width), (14, 1))), ImageFont.load_default(14)
    picture = Image.new("RGB", (width, 36), PAPER)
    picture.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(picture)
    for x, text, anchor in ((0, "0", "la"), (width // 2, "probability", "ma"), (width - 1, "1", "ra")):
        draw.text((x, 18), text, fill=INK, font=font, anchor=anchor)
    return np.asarray(picture)
