"""The nine pixels that a 3x3 convolution reads at dilation rates 1, 2 and 4."""

import numpy as np
from keras import ops
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from docs.figures import style
from kseg.layers import Conv2D, Reach

SIDE = 11


def paths(rates: tuple[int, ...], side: int = SIDE) -> np.ndarray:
    """The number of paths from each pixel to the middle one through 3x3 convolutions at these rates: `(side, side)`.

    Kernels of ones are symmetric, so that the response to a single pixel is also what the middle pixel reads.
    """
    x = np.zeros((1, side, side, 1), "float32")
    x[:, side // 2, side // 2] = 1
    for rate in rates:
        convolution = Conv2D(1, 3, dilation_rate=rate, padding="same", kernel_initializer="ones", use_bias=False)
        x = convolution(x)
    return np.asarray(ops.convert_to_numpy(x)[0, ..., 0])


def draw() -> Figure:
    """Draws a panel for each rate; what the layer reads is blue."""
    figure, panels = style.panels(3, width=2.1, height=2.35)
    for axes, rate in zip(panels, (1, 2, 4), strict=True):
        read = paths((rate,)) > 0
        colors = ListedColormap(["white", style.BLUE])
        axes.pcolormesh(read, cmap=colors, edgecolors=style.LINE, linewidth=0.5, vmin=0, vmax=1)
        axes.set_aspect("equal")
        sees = f"{Reach(1, 1).window(3, rate=rate).pixels} pixels wide"
        style.without_ticks(axes, f"rate {rate}: {np.count_nonzero(read)} weights,\n{sees}")
    return figure
