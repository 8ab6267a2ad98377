"""Label maps over their images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.visualize._legend import check_colors, with_legend
from kseg.visualize.color import blend, colorize, plane, rgb
from kseg.visualize.text import drawable


def borders(mask: Any, width: int = 1) -> np.ndarray:
    """Marks the lines between horizontal and vertical neighbors with different labels, void included.

    Args:
        mask: Integers `(H, W)` or `(H, W, 1)`.
        width: Width of the lines in pixels, half on each side; an odd pixel goes to the right and below.

    Returns:
        bool `(H, W)`.

    Raises:
        ValueError: If the mask has another shape.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import borders
        >>> borders(np.array([[0, 0, 0, 1, 1, 1]]), width=2).astype(int).tolist()
        [[0, 0, 1, 1, 0, 0]]
    """
    mask = plane(mask)
    height, across = mask.shape
    line = np.zeros((height + width, across + width), bool)  # with room for lines beyond the edge
    begin = width // 2
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    for by in range(width):
        line[1 + by : height + by, begin : begin + across] |= down
        line[begin : begin + height, 1 + by : across + by] |= right
    return line[begin : begin + height, begin : begin + across]


def overlay(
    image: Any,
    mask: Any,
    palette: Sequence[Sequence[int]],
    *,
    opacity: float = 0.35,
    contours: int = 1,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws a label map lightly over its image, with a line around each region; void pixels are darkened.

    Args:
        image: `(H, W, C)` or `(H, W)`, values 0 to 255.
        mask: Integers `(H, W)`.
        palette: One color per class.
        opacity: Opacity of the mask: 0 shows only the image, 1 only the mask.
        contours: Width in pixels of lines along the `borders` of the classes, in their colors; 0 draws none, and
            `opacity=0` draws only these.
        classes: Class names for a legend of the classes that occur, below the image; None draws none.

    Returns:
        uint8 `(H, W, 3)`; larger than the image with a legend.

    Raises:
        ValueError: If the sizes differ, the opacity is outside 0 to 1, or there are fewer colors than names.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import overlay
        >>> overlay(np.full((1, 1, 3), 100), np.zeros((1, 1), int), [(200, 0, 40)]).tolist()
        [[[135, 65, 79]]]
    """
    image, colors = rgb(image), colorize(mask, palette)
    if image.shape != colors.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, its mask {colors.shape[:2]}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 (only the image) to 1 (only the mask); got {opacity}")
    picture = blend(image, colors, opacity)
    mask = plane(mask)
    if contours:
        line = borders(mask, contours) & (mask >= 0) & (mask < len(palette))
        picture[line] = colors[line]
    if classes is None:
        return picture
    check_colors(classes, palette)
    present = [index for index in np.unique(mask).tolist() if 0 <= index < len(classes)]
    names = drawable(classes)
    return with_legend(picture, [names[index] for index in present], [palette[index] for index in present])
