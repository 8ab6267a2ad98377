"""Which pixels of the image reach one output pixel through 3x3 convolutions, with and without dilation."""

import keras
import numpy as np
from matplotlib.figure import Figure

from docs.figures import style

SIDE = 17
CHAINS = {"3x3, 3x3: rates 1, 1": (1, 1), "rates 2, 2: a grid with gaps": (2, 2), "rates 1, 2, 4": (1, 2, 4)}


def reached(rates: tuple[int, ...]) -> np.ndarray:
    """Returns the number of paths from each pixel of the image to the output pixel in the middle.

    A chain of convolutions with symmetric kernels of ones is its own transpose, so the output for one bright pixel in
    the middle shows which pixels reach the middle.
    """
    x = np.zeros((1, SIDE, SIDE, 1), "float32")
    x[0, SIDE // 2, SIDE // 2] = 1
    for rate in rates:
        x = keras.layers.Conv2D(1, 3, padding="same", dilation_rate=rate, use_bias=False, kernel_initializer="ones")(x)
    return keras.ops.convert_to_numpy(x)[0, :, :, 0]


def draw() -> Figure:
    """Draws the paths per pixel of three chains; white pixels do not reach the output."""
    figure, axes = style.panels(len(CHAINS), width=2.4, height=2.5)
    for each, (title, rates) in zip(axes, CHAINS.items(), strict=True):
        paths = reached(rates)
        each.imshow(np.where(paths > 0, 1 + paths / paths.max(), 0), cmap="Blues", vmin=0, vmax=2.2)
        each.set_xticks(np.arange(-0.5, SIDE), [""] * (SIDE + 1))
        each.set_yticks(np.arange(-0.5, SIDE), [""] * (SIDE + 1))
        each.grid(color=style.LINE, linewidth=0.5)
        each.tick_params(length=0)
        each.set_title(title)
    return figure
