"""IoU of FCN-32, 16 and 8 on CamVid: of the thin classes, of the large ones, and of all."""

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import leaderboard
from docs.figures import style

THIN, LARGE = ("pole", "sign", "pedestrian", "bicyclist"), ("sky", "building", "road", "tree")
BUILDERS = ("fcn32", "fcn16", "fcn8")


def scores() -> pd.DataFrame:
    """Returns the mean IoU in percent of each group of classes (columns) of each network (rows)."""
    rows = leaderboard.read(leaderboard.LEADERBOARDS / "camvid.csv")
    rows = rows[rows["budget"] == "gpu"].drop_duplicates("name").set_index("name").loc[list(BUILDERS)]
    groups = {", ".join(THIN): THIN, ", ".join(LARGE): LARGE}
    means = {title: rows[[f"iou_{name}" for name in names]].mean(axis=1) for title, names in groups.items()}
    return 100 * pd.DataFrame({**means, "all 11 classes": rows["miou"]})


def draw() -> Figure:
    """Draws a group of bars per group of classes."""
    figure, (axes,) = style.panels(1, width=6.4, height=2.6)
    table = scores()
    for index, (name, color) in enumerate(zip(BUILDERS, (style.SOFT, style.ORANGE, style.BLUE), strict=True)):
        places = [place + 0.27 * (index - 1) for place in range(len(table.columns))]
        bars = axes.bar(places, table.loc[name], width=0.25, color=color, label=name)
        axes.bar_label(bars, [f"{value:.0f}" for value in table.loc[name]], fontsize=8)
    axes.set_xticks(range(len(table.columns)), [title.replace("n, b", "n,\nb") for title in table.columns])
    axes.set_ylabel("mean IoU, percent")
    axes.set_ylim(0, 110)
    axes.legend(frameon=False, ncols=3, loc="upper right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
