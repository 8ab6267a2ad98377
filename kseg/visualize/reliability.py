"""Whether probabilities mean what they say, as a picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg.visualize.chart import Chart
from kseg.visualize.grid import grid
from kseg.visualize.legend import legend
from kseg.visualize.palette import OKABE_ITO
from kseg.visualize.text import INK

ACCURACY, SURE, UNSURE, SHARE = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[4], OKABE_ITO[7]


def reliability_diagram(result: Mapping[str, Any], *, side: int = 320) -> np.ndarray:
    """How often pixels of each confidence are right, and below it how many there are.

    Perfectly calibrated probabilities would reach the diagonal. Orange is by how much the confidence exceeds the
    accuracy, light blue by how much it falls short.

    Args:
        result: what `kseg.metrics.calibration` returns.
        side: width and height of the diagram in pixels, its texts apart.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        ValueError: if the arrays have different lengths.

    Reference:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599

    Example:
        >>> from kseg.visualize import reliability_diagram
        >>> result = {"ece": 0.3, "confidence": [np.nan, 0.8], "accuracy": [np.nan, 0.5], "pixels": [0, 2]}
        >>> reliability_diagram(result).dtype
        dtype('uint8')
    """
    confidence, accuracy, pixels = (np.asarray(result[name], float) for name in ("confidence", "accuracy", "pixels"))
    if not len(confidence) == len(accuracy) == len(pixels):
        raise ValueError(f"{len(confidence)} confidences, {len(accuracy)} accuracies, {len(pixels)} numbers of pixels")
    edges = np.linspace(0, 1, len(pixels) + 1)
    title = f"expected calibration error {100 * result['ece']:.1f} %"
    above = Chart((0, 1), (0, 1), title=title, y_label="accuracy", size=(side, side))
    share = 100 * pixels / max(pixels.sum(), 1)
    below = Chart((0, 1), (0, max(share.max(), 1)), x_label="confidence", y_label="pixels, %", size=(side, side // 3))
    for place in np.flatnonzero(pixels):
        left, right = edges[place : place + 2]
        ends = accuracy[place], confidence[place]
        above.bar((left, right), (0, min(ends)), ACCURACY)
        above.bar((left, right), ends, SURE if confidence[place] > accuracy[place] else UNSURE)
        below.bar((left, right), (0, share[place]), SHARE)
    above.line([(0, 0), (1, 1)], INK, width=1)
    names = legend(["accuracy", "too sure", "not sure enough"], [ACCURACY, SURE, UNSURE], width=side, font_size=14)
    return grid([[above.picture()], [below.picture()]], footer=names)
