"""Label maps laid over their images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.visualize.color import blend, colorize, plane, rgb
from kseg.visualize.legend import with_legend


def borders(mask: Any, width: int = 1) -> np.ndarray:
    """Where labels meet: lines between pixels side by side or above one another that differ, void's too.

    Args:
        mask: integers `(H, W)` or `(H, W, 1)`.
        width: of the lines in pixels; half of them on either side, an odd one to the right and below.

    Returns:
        bool `(H, W)`.

    Raises:
        ValueError: if the mask has another shape.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import borders
        >>> borders(np.array([[0, 0, 0, 1, 1, 1]]), width=2).astype(int).tolist()
        [[0, 0, 1, 1, 0, 0]]
    """
    mask = plane(mask)
    height, across = mask.shape
    line = np.zeros((height + width, across + width), bool)  # with room for what a line covers beyond the edge
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
    opacity: float = 0.5,
    contours: int = 0,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """A label map laid over its image; void darkens it.

    Args:
        image: `(H, W, C)` or `(H, W)`, values 0..255.
        mask: integers `(H, W)`.
        palette: one colour a class.
        opacity: 0 shows the image alone, 1 the mask alone.
        contours: width in pixels of lines along the `borders` of the classes, in their colours; with `opacity=0` there
            are only these.
        classes: their names, for a legend underneath.

    Returns:
        uint8 `(H, W, 3)`; with a legend larger than the image.

    Raises:
        ValueError: if the sizes differ, the opacity is not from 0 to 1, or there are fewer colours than names.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import overlay
        >>> overlay(np.full((1, 1, 3), 100), np.zeros((1, 1), int), [(200, 0, 50)]).tolist()
        [[[150, 50, 75]]]
    """
    image, colors = rgb(image), colorize(mask, palette)
    if image.shape != colors.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, its mask {colors.shape[:2]}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is from 0 (the image alone) to 1 (the mask alone); got {opacity}")
    picture = blend(image, colors, opacity)
    if contours:
        mask = plane(mask)
        line = borders(mask, contours) & (mask >= 0) & (mask < len(palette))
        picture[line] = colors[line]
    if classes is None:
        return picture
    return with_legend(picture, classes, palette)
