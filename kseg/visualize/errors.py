"""Where a prediction is right, wrong, or not asked for."""

from typing import Any

import numpy as np

from kseg.visualize.color import blend, colorize, dim, plane
from kseg.visualize.legend import with_legend
from kseg.visualize.palette import OKABE_ITO, VOID

RIGHT, WRONG = OKABE_ITO[0], OKABE_ITO[1]  # blue and orange: of the eight, far apart for everybody


def error_map(
    label: Any,
    prediction: Any,
    *,
    image: Any = None,
    opacity: float = 0.6,
    ignore_class: int | None = 255,
    shares: bool = True,
) -> np.ndarray:
    """Right pixels blue, wrong ones orange, void black.

    Args:
        label: integers `(H, W)` or `(H, W, 1)`.
        prediction: likewise.
        image: `(H, W, C)` or `(H, W)`, values 0..255; shines through, in grey.
        opacity: of the colours over the image, 0 to 1.
        ignore_class: label of void pixels; None where there are none.
        shares: whether a legend underneath says which share of the pixels each is.

    Returns:
        uint8 `(H, W, 3)`; with a legend larger than the label map.

    Raises:
        ValueError: if the sizes differ.

    Example:
        >>> from kseg.visualize import error_map
        >>> error_map([[0, 1, 255]], [[0, 0, 0]], shares=False).tolist()
        [[[0, 114, 178], [230, 159, 0], [0, 0, 0]]]
    """
    label, prediction = plane(label), plane(prediction)
    if label.shape != prediction.shape:
        raise ValueError(f"the label is {label.shape} pixels, the prediction {prediction.shape}")
    kind = (label != prediction).astype("uint8")
    if ignore_class is not None:
        kind[label == ignore_class] = 2
    colors = (RIGHT, WRONG, VOID)
    picture = colorize(kind, colors)
    if image is not None:
        grey = dim(image, 1.0)
        if grey.shape != picture.shape:
            raise ValueError(f"the image is {grey.shape[:2]} pixels, its label {label.shape}")
        picture = blend(grey, picture, opacity)
    if not shares:
        return picture
    parts = 100 * np.bincount(kind.ravel(), minlength=3) / kind.size
    names = [f"{name} {part:.1f} %" for name, part in zip(("right", "wrong", "void"), parts, strict=True)]
    return with_legend(picture, names, colors)
