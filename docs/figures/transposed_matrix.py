"""The matrix of a convolution with stride 2, and its transpose, which is the matrix of the transposed convolution."""

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.figures import style

KERNEL = np.array([1, 3, 3, 1], "float32")
STRIDE, INPUTS = 2, 8


def convolution_matrix() -> np.ndarray:
    """Returns the matrix of the convolution: its columns are the outputs for images with one pixel of value 1."""
    layer = keras.layers.Conv1D(1, len(KERNEL), strides=STRIDE, padding="valid", use_bias=False)
    layer.build((None, INPUTS, 1))
    layer.set_weights([KERNEL[:, None, None]])
    return keras.ops.convert_to_numpy(layer(np.eye(INPUTS, dtype="float32")[:, :, None]))[:, :, 0].T


def _matrix(axes: Axes, matrix: np.ndarray, title: str) -> None:
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=6)
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=style.INK if value else style.LINE)
    style.without_ticks(axes, title)


def draw() -> Figure:
    """Draws both matrices."""
    matrix = convolution_matrix()
    figure, (left, right) = style.panels(2, width=3.2, height=2.8)
    _matrix(left, matrix, f"convolution, stride {STRIDE}: {INPUTS} to {len(matrix)} pixels")
    _matrix(right, matrix.T, f"its transpose: {len(matrix)} to {INPUTS} pixels")
    return figure
