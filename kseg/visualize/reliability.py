"""Reliability diagrams: how well probabilities are calibrated."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg.visualize.charts import Figure, drawn
from kseg.visualize.palette import OKABE_ITO

ACCURACY, OVERCONFIDENT, UNDERCONFIDENT, SHARE = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[4], OKABE_ITO[7]
GAP, BELOW = 50, 45  # pixels between the axes, and from the axes down to the legend


def reliability_diagram(result: Mapping[str, Any], *, side: int = 320) -> np.ndarray:
    """Draws the accuracy of the pixels in each range of confidence, and below it the share of pixels there.

    Perfectly calibrated probabilities reach the diagonal. Orange shows by how much the confidence exceeds the accuracy,
    light blue by how much it falls short.

    Args:
        result: The result of `kseg.metrics.calibration`.
        side: Width and height of the diagram in pixels, without its texts.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: If the arrays have different lengths.
        ImportError: If matplotlib is not installed.

    Reference:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import reliability_diagram
        >>> result = {"ece": 0.3, "confidence": [np.nan, 0.8], "accuracy": [np.nan, 0.5], "pixels": [0, 2]}
        >>> reliability_diagram(result).dtype
        dtype('uint8')
    """
    confidence, accuracy, pixels = (np.asarray(result[name], float) for name in ("confidence", "accuracy", "pixels"))
    if not len(confidence) == len(accuracy) == len(pixels):
        raise ValueError(f"{len(confidence)} confidences, {len(accuracy)} accuracies, {len(pixels)} numbers of pixels")
    share = 100 * pixels / max(pixels.sum(), 1)
    confidence, accuracy = np.where(pixels, (confidence, accuracy), 0)  # nan where there are no pixels
    low, high = np.minimum(confidence, accuracy), np.maximum(confidence, accuracy)

    height = side + GAP + side / 3

    def paint(figure: Figure) -> None:
        below = figure.add_axes((0, 0, 1, side / 3 / height))
        above = figure.add_axes((0, 1 - side / height, 1, side / height), sharex=below)
        left = np.linspace(0, 1, len(pixels) + 1)[:-1]

        def bars(axes: Any, values: np.ndarray, color: Any, bottom: Any = 0) -> Any:
            look = {"color": f"#{bytes(color).hex()}", "antialiased": False}
            return axes.bar(left, values, 1 / len(pixels), bottom, align="edge", **look)

        handles = [
            bars(above, low, ACCURACY),
            bars(above, np.where(confidence > accuracy, high - low, 0), OVERCONFIDENT, low),
            bars(above, np.where(confidence < accuracy, high - low, 0), UNDERCONFIDENT, low),
        ]
        above.plot((0, 1), (0, 1), color="#202020", linewidth=1)
        above.set(title=f"expected calibration error {100 * result['ece']:.1f} %", ylabel="accuracy")
        above.set(xlim=(0, 1), ylim=(0, 1))
        bars(below, share, SHARE)
        below.set(xlabel="confidence", ylabel="pixels, %", ylim=(0, max(share.max(), 1)))
        names, place = ["accuracy", "overconfident", "underconfident"], (0.5, -BELOW / height)
        figure.legend(handles, names, loc="upper center", bbox_to_anchor=place, ncols=3, columnspacing=1)

    return drawn(paint, side, height)
