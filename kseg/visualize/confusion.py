"""A confusion matrix as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.visualize.charts import Figure, drawn
from kseg.visualize.text import drawable

DEEP = (8, 48, 107)
"""The dark end of the heat map."""


def confusion_picture(matrix: Any, classes: Sequence[str], *, cell: int = 44) -> np.ndarray:
    """Draws a confusion matrix as a heat map: the predictions for each true class, in percent of its row.

    Args:
        matrix: Counts `(C, C)`, one row per true class.
        classes: C names.
        cell: Side of a cell in pixels.

    Returns:
        uint8 `(H, W, 3)`: white is 0 %, dark blue 100 %, rows of absent classes are gray.

    Raises:
        ValueError: If the matrix is not `(C, C)` for C names.
        ImportError: If matplotlib is not installed.

    Example:
        >>> from kseg.visualize import confusion_picture
        >>> confusion_picture([[9, 1], [0, 0]], ["road", "sky"]).dtype
        dtype('uint8')
    """
    classes = drawable(classes)
    counts, n = np.asarray(matrix, "float64"), len(classes)
    if counts.shape != (n, n):
        raise ValueError(f"{n} classes need a confusion matrix ({n}, {n}); got shape {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    colors = 255 + (np.array(DEEP) - 255) * np.sqrt(share)[..., None]  # the square root makes rare errors visible
    colors = np.where(totals[..., None], np.rint(colors), 225).astype("uint8")

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.pcolormesh(colors, edgecolors="white", linewidth=1)
        for (row, column), value in np.ndenumerate(share):
            if totals[row]:
                text = f"{100 * value:.0f}" if value >= 0.005 or value == 0 else "<1"
                ink = "white" if value > 0.25 else "black"
                axes.text(column + 0.5, row + 0.5, text, color=ink, ha="center", va="center", fontsize=9)
        axes.set_xticks(np.arange(n) + 0.5, classes, rotation=90)
        axes.set_yticks(np.arange(n) + 0.5, classes)
        axes.set(xlim=(0, n), ylim=(n, 0))
        axes.set_xlabel("predicted, % of the true class", labelpad=10)
        axes.set_ylabel("true", labelpad=10)
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0, labelbottom=False, labeltop=True)
        axes.spines[:].set_visible(False)
        axes.grid(False)

    return drawn(paint, n * cell, n * cell, texts=classes)
