"""IoU of FCN-32s, FCN-16s and FCN-8s on CamVid's test images, from the leaderboard."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from docs.figures import style

LEADERBOARD = pathlib.Path(__file__).parents[2] / "benchmarks/leaderboards/camvid.csv"
SCORES = {
    "miou": "mean", "iou_road": "road", "iou_building": "building", "iou_car": "car", "iou_pedestrian": "pedestrian",
    "iou_sign": "sign", "iou_pole": "pole",
}  # fmt: skip
NETWORKS = {"fcn32": style.LINE, "fcn16": style.BLUE, "fcn8": style.ORANGE}


def draw() -> Figure:
    """Draws a group of bars for the mean and for each of some classes, large ones first."""
    rows = pd.read_csv(LEADERBOARD).query("budget == 'gpu'").set_index("name")
    figure, (axes,) = style.panels(1, width=6.6, height=2.6)
    place = np.arange(len(SCORES))
    for index, (name, color) in enumerate(NETWORKS.items()):
        values = 100 * rows.loc[name, list(SCORES)].to_numpy(float)
        axes.bar(place + 0.27 * (index - 1), values, 0.25, color=color, label=name)
        for x, value in zip(place, values, strict=True):
            axes.text(x + 0.27 * (index - 1), value + 1, f"{value:.0f}", ha="center", fontsize=7, color=style.SOFT)
    axes.set_xticks(place, list(SCORES.values()))
    axes.set(ylabel="IoU, %", ylim=(0, 105))
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=3, frameon=False)
    return figure
