"""Maps of right and wrong pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.visualize._legend import check_colors, with_legend
from kseg.visualize.color import blend, colorize, dim, plane
from kseg.visualize.palette import OKABE_ITO, VOID
from kseg.visualize.text import drawable

RIGHT, WRONG = (190, 190, 190), OKABE_ITO[5]  # light gray and vermilion


def error_map(
    label: Any,
    prediction: Any,
    *,
    image: Any = None,
    palette: Sequence[Sequence[int]] | None = None,
    classes: Sequence[str] = (),
    opacity: float = 0.6,
    ignore_class: int | None = 255,
    shares: bool = True,
) -> np.ndarray:
    """Draws right pixels gray, wrong ones in a color and void ones black.

    Args:
        label: Integers `(H, W)` or `(H, W, 1)`.
        prediction: Integers of the same shape.
        image: `(H, W, C)` or `(H, W)`, values 0 to 255, shown in gray below; wrong pixels cover it more than others.
        palette: One color per class, in which wrong pixels show what was predicted; None draws all of them vermilion.
        classes: Class names, for the legend of a palette.
        opacity: Opacity of the gray over the image, 0 to 1.
        ignore_class: Label of void pixels, or None.
        shares: Whether to add a legend with the share of right, wrong and void pixels.

    Returns:
        uint8 `(H, W, 3)`; larger than the label map with a legend.

    Raises:
        ValueError: If the sizes differ, or there are fewer colors than names.

    Example:
        >>> from kseg.visualize import error_map
        >>> error_map([[0, 1, 255]], [[0, 0, 0]], shares=False).tolist()
        [[[190, 190, 190], [213, 94, 0], [0, 0, 0]]]
    """
    label, prediction = plane(label), plane(prediction)
    if label.shape != prediction.shape:
        raise ValueError(f"the label is {label.shape} pixels, the prediction {prediction.shape}")
    if palette is not None:
        check_colors(classes, palette)
    kind = (label != prediction).astype("uint8")
    if ignore_class is not None:
        kind[label == ignore_class] = 2
    picture, wrong = colorize(kind, (RIGHT, WRONG, VOID)), kind == 1
    if palette is not None:
        picture[wrong] = colorize(prediction, palette)[wrong]
    if image is not None:
        gray = dim(image, 1.0)
        if gray.shape != picture.shape:
            raise ValueError(f"the image is {gray.shape[:2]} pixels, its label {label.shape}")
        strong = blend(gray, picture, (1 + opacity) / 2)
        picture = blend(gray, picture, opacity)
        picture[wrong] = strong[wrong]
    if not shares:
        return picture
    names, colors = _legend(kind, prediction, palette, classes)
    return with_legend(picture, names, colors)


def _legend(
    kind: np.ndarray, prediction: np.ndarray, palette: Sequence[Sequence[int]] | None, classes: Sequence[str]
) -> tuple[list[str], list[Sequence[int]]]:
    """Returns the names and colors of the kinds of pixels that occur, with their shares."""
    parts = 100 * np.bincount(kind.ravel(), minlength=3) / kind.size
    right, wrong, void = (
        (f"{name} {part:.1f} %", color)
        for name, part, color in zip(("right", "wrong", "void"), parts, (RIGHT, WRONG, VOID), strict=True)
    )
    rows: list[tuple[str, Sequence[int]]] = [right, wrong]
    if palette is not None:
        counts = np.bincount(prediction[kind == 1].ravel().astype("int64"), minlength=len(palette))
        names = [*drawable(classes), *(f"class {index}" for index in range(len(classes), len(palette)))]
        rows[1:] = [
            (f"wrong, {names[index]} {100 * counts[index] / kind.size:.1f} %", palette[index])
            for index in np.argsort(-counts[: len(palette)], kind="stable").tolist()
            if counts[index]
        ]
    rows += [void] if parts[2] else []
    return [name for name, _ in rows], [color for _, color in rows]
