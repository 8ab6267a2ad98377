"""How many of the nine weights of a 3x3 kernel lie inside the feature map, by dilation rate."""

import numpy as np
from keras import ops
from matplotlib.figure import Figure

from docs.figures import style
from kseg.layers import Conv2D

SIZE = (23, 30)
"""The features of an image of 360x480 pixels at stride 16."""
KINDS = {"all 9": (9, style.BLUE), "4 or 6": (4, "#9cc3ee"), "2 or 3": (2, "#f2bf8f"), "only 1": (1, style.ORANGE)}


def inside(rate: int) -> np.ndarray:
    """The number of weights of a kernel that read the feature map and not its padding, for each pixel."""
    convolution = Conv2D(1, 3, dilation_rate=rate, padding="same", kernel_initializer="ones", use_bias=False)
    return np.asarray(np.rint(ops.convert_to_numpy(convolution(np.ones((1, *SIZE, 1), "float32")))))


def draw() -> Figure:
    """Draws the shares of the pixels with so many weights, stacked, over the rate."""
    rates = (1, 3, 6, 9, 12, 18, 24, 30)
    counts = [inside(rate) for rate in rates]
    figure, (axes,) = style.panels(1, width=5.6, height=2.6)
    bottom, above = np.zeros(len(rates)), 10
    for name, (least, color) in KINDS.items():
        share = np.array([100 * np.mean((count >= least) & (count < above)) for count in counts])
        axes.bar(range(len(rates)), share, 0.8, bottom, color=color, label=name)
        bottom, above = bottom + share, least
    axes.set_xticks(range(len(rates)), [str(rate) for rate in rates])
    axes.set(xlabel="dilation rate", ylabel="pixels, %")
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="weights that read\nthe feature map", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
