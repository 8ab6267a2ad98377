"""Which pixels three 3x3 convolutions read at rates 2, 2, 2 and at rates 1, 2, 3."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from docs.figures import style
from docs.figures.dilation_taps import paths

SIDE = 13


def draw() -> Figure:
    """Draws the number of paths from each pixel to the middle one; pixels without a path are orange."""
    figure, panels = style.panels(2, width=2.7, height=2.8)
    blues = LinearSegmentedColormap.from_list("paths", ["#dbe8f8", style.BLUE]).with_extremes(under=style.ORANGE)
    for axes, rates in zip(panels, ((2, 2, 2), (1, 2, 3)), strict=True):
        counts = np.rint(paths(rates, SIDE))
        axes.pcolormesh(counts, cmap=blues, edgecolors="white", linewidth=0.5, vmin=0.5, vmax=counts.max())
        axes.set_aspect("equal")
        title = f"rates {', '.join(map(str, rates))}: reads {np.count_nonzero(counts)} of {counts.size} pixels"
        style.without_ticks(axes, title)
    return figure
