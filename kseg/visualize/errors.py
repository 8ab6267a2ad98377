"""Maps of right and wrong pixels."""

from typing import Any

import numpy as np

from kseg.visualize._legend import with_legend
from kseg.visualize.color import blend, colorize, dim, plane
from kseg.visualize.palette import OKABE_ITO, VOID

RIGHT, WRONG = OKABE_ITO[0], OKABE_ITO[1]  # blue and orange, which everybody can distinguish


def error_map(
    label: Any,
    prediction: Any,
    *,
    image: Any = None,
    opacity: float = 0.6,
    ignore_class: int | None = 255,
    shares: bool = True,
) -> np.ndarray:
    """Draws right pixels blue, wrong ones orange and void pixels black.

    Args:
        label: Integers `(H, W)` or `(H, W, 1)`.
        prediction: Integers of the same shape.
        image: `(H, W, C)` or `(H, W)`, values 0 to 255, shown in gray below the colors.
        opacity: Opacity of the colors over the image, 0 to 1.
        ignore_class: Label of void pixels, or None.
        shares: Whether to add a legend with the share of right, wrong and void pixels.

    Returns:
        uint8 `(H, W, 3)`; larger than the label map with a legend.

    Raises:
        ValueError: If the sizes differ.

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
        gray = dim(image, 1.0)
        if gray.shape != picture.shape:
            raise ValueError(f"the image is {gray.shape[:2]} pixels, its label {label.shape}")
        picture = blend(gray, picture, opacity)
    if not shares:
        return picture
    parts = 100 * np.bincount(kind.ravel(), minlength=3) / kind.size
    names = [f"{name} {part:.1f} %" for name, part in zip(("right", "wrong", "void"), parts, strict=True)]
    return with_legend(picture, names, colors)
