"""The pixels that each branch of `kseg.layers.ASPP` reads for the pixel in the middle."""

import keras
import numpy as np
from keras import ops
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from docs.figures import style
from kseg.layers import ASPP

SIDE, RATES = 39, (6, 12, 18)


def reads() -> list[np.ndarray]:
    """Returns a map bool `(SIDE, SIDE)` for each branch, the mean of the image last."""
    image = np.zeros((1, SIDE, SIDE, 1), "float32")
    image[:, SIDE // 2, SIDE // 2] = 1
    aspp = ASPP(1, RATES, name="aspp")
    aspp(image)
    for branch in (*aspp.branches, aspp.image):
        branch.conv.kernel.assign(ops.ones(branch.conv.kernel.shape))
    maps = [branch(image) for branch in aspp.branches]
    mean = keras.ops.mean(image, axis=(1, 2), keepdims=True)
    maps.append(aspp.image(mean) + ops.zeros_like(maps[0]))
    return [ops.convert_to_numpy(each)[0, ..., 0] > 0 for each in maps]


def draw() -> Figure:
    """Draws one panel per branch."""
    figure, panels = style.panels(5, width=1.45, height=1.75)
    titles = ["1x1", *(f"3x3, rate {rate}" for rate in RATES), "mean"]
    for axes, title, read in zip(panels, titles, reads(), strict=True):
        axes.imshow(read, cmap=ListedColormap(["#eef1f6", style.BLUE]), vmin=0, vmax=1, interpolation="nearest")
        count = np.count_nonzero(read)
        style.without_ticks(axes, f"{title}\n{count} {'pixel' if count == 1 else 'pixels'}")
    return figure
