"""The mean of the mIoU of single images against the mIoU of the data set, for one and the same prediction."""

import numpy as np
from matplotlib.figure import Figure

from docs.figures import style
from kseg import metrics

RARE, IMAGES = 0.02, 40
"""Share of the rare class in the images that have it, and the number of images."""


def mean_of_images(share_with_rare: float) -> tuple[float, float]:
    """Returns the mean of the images' mIoU and the mIoU of all, if half of the pixels of a rare class are found."""
    matrices = []
    for index in range(IMAGES):
        rare = round(10000 * RARE) if index < share_with_rare * IMAGES else 0
        matrices.append(np.array([[10000 - rare, 0], [rare / 2, rare / 2]], "int64"))
    single = np.mean([metrics.scores(matrix)["miou"] for matrix in matrices])
    return float(single), metrics.scores(sum(matrices))["miou"]


def draw() -> Figure:
    """Draws both over the share of images that have the rare class."""
    figure, (axes,) = style.panels(1, width=5.6, height=2.6)
    shares = np.arange(1, IMAGES + 1) / IMAGES
    single, whole = np.array([mean_of_images(share) for share in shares]).T
    axes.plot(100 * shares, 100 * single, color=style.ORANGE, label="mean over the images of their mIoU")
    axes.plot(100 * shares, 100 * whole, color=style.BLUE, label="mIoU of the data set")
    axes.set_xlabel("images in which the rare class occurs, percent")
    axes.set_ylabel("percent")
    axes.set_ylim(60, 102)
    axes.legend(frameon=False, loc="lower left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
