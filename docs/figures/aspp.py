"""Where the branches of an ASPP with rates 6, 12 and 18 look, on features of 33x33 pixels."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures import style

SIDE, RATES = 33, (6, 12, 18)


def draw() -> Figure:
    """Draws the taps of each 3x3 convolution around the pixel in the middle, and the field of the image pooling."""
    figure, axes = style.panels(5, width=1.7, height=1.9)
    middle = SIDE // 2
    for each, rate in zip(axes, (0, *RATES), strict=False):
        steps = (0,) if rate == 0 else (-rate, 0, rate)
        taps = np.array([(middle + x, middle + y) for y in steps for x in steps])
        inside = ((taps >= 0) & (taps < SIDE)).all(axis=1)
        each.scatter(taps[inside, 0], taps[inside, 1], s=26, color=style.BLUE)
        each.scatter(taps[~inside, 0], taps[~inside, 1], s=26, facecolors="none", edgecolors=style.BLUE)
        each.set_xlim(-4, SIDE + 3)
        each.set_ylim(SIDE + 3, -4)
        each.add_patch(Rectangle((-0.5, -0.5), SIDE, SIDE, fill=False, edgecolor=style.SOFT))
        style.without_ticks(each, "1x1" if rate == 0 else f"3x3, rate {rate}")
        each.axis("off")
    axes[-1].add_patch(Rectangle((-0.5, -0.5), SIDE, SIDE, facecolor=style.BLUE))
    axes[-1].set_xlim(-4, SIDE + 3)
    axes[-1].set_ylim(SIDE + 3, -4)
    axes[-1].set_title("mean of all")
    axes[-1].axis("off")
    return figure
