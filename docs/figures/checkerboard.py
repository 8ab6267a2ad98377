"""What transposed convolutions make of an image of ones, with kernels of 3 and of 4 pixels and stride 2."""

import warnings

import keras
import numpy as np
from matplotlib.figure import Figure

from docs.figures import style
from kseg import layers


def draw() -> Figure:
    """Draws the outputs of two layers for the same image of ones, without their borders."""
    figure, axes = style.panels(2, width=2.6, height=2.6)
    ones = np.ones((1, 8, 8, 1), "float32")
    for each, size in zip(axes, (3, 4), strict=True):
        with warnings.catch_warnings():  # the layer warns of the pattern that this picture shows
            warnings.simplefilter("ignore")
            layer = layers.TransposeUpsampling2D(1, 2, kernel_size=size, kernel_initializer="ones")
        output = keras.ops.convert_to_numpy(layer(ones))[0, 2:-2, 2:-2, 0]
        each.imshow(output, cmap="Blues", vmin=0, vmax=6)
        for (row, column), value in np.ndenumerate(output):
            each.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7)
        style.without_ticks(each, f"kernel of {size}x{size}, stride 2")
    return figure
