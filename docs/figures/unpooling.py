"""Pooling with positions, and the three ways to undo it, computed by kseg's layers on one image of 4x4 pixels."""

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures import style
from kseg import layers

IMAGE = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], "float32")
COLORS = np.array([["#dbe9fb", "#fde6d2"], ["#d9f0e1", "#ece2f8"]])
"""The background of each window of 2x2 pixels."""


def _numbers(axes: Axes, values: np.ndarray, title: str) -> None:
    rows, columns = values.shape
    for row in range(rows):
        for column in range(columns):
            color = COLORS[row * 2 // rows, column * 2 // columns]
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor="white", linewidth=2))
            axes.text(column + 0.5, row + 0.5, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=11)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title)


def draw() -> Figure:
    """Draws six panels: the image, its maxima, their positions, and three unpoolings of the maxima."""
    pooled, argmax = layers.MaxPoolingWithArgmax2D()(IMAGE[None, :, :, None])
    panels = {
        "image": IMAGE,
        "maxima": pooled,
        "positions in the windows": argmax,
        "NearestUnpooling2D": layers.NearestUnpooling2D()(pooled),
        "BedOfNailsUnpooling2D": layers.BedOfNailsUnpooling2D()(pooled),
        "MaxUnpooling2D": layers.MaxUnpooling2D()(pooled, argmax),
    }
    figure, axes = style.panels(3, rows=2, width=2.2, height=2.3)
    for each, (title, values) in zip(axes, panels.items(), strict=True):
        numbers = values if title == "image" else keras.ops.convert_to_numpy(values)[0, :, :, 0]
        _numbers(each, numbers, title)
    return figure
