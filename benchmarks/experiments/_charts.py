"""The pictures of `python -m benchmarks speed`, drawn by matplotlib as SVG: ratios to the fastest peer, and growth."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.plot import GROUND, INK, LINE, SOFT, drawn

OURS, PEERS = "#0b63c5", "#aab2bf"
LONGEST = 3.0
"""The ratio at which bars are cut off; their labels are not."""
COLUMNS = 3
MACHINE = ["processor", "threads", "precision"]


def ratios(rows: pd.DataFrame) -> str:
    """Draws one chart per case: a bar for each way, the time relative to the fastest other library."""
    rows = rows[rows["ratio"].notna() & (rows["part"] != "growth")]
    machines = [
        (key, list(each.groupby(["part", "net", "size", "batch"], sort=False))) for key, each in _by_machine(rows)
    ]
    heights = [sum(_height(line) for line in _lines(cases)) + 0.7 for _, cases in machines]

    def paint(figure: Figure) -> None:
        for part, (key, cases) in zip(_parts(figure, heights), machines, strict=True):
            _head(part, "Time relative to the fastest other library: shorter bars are faster", key)
            lines = list(_lines(cases))
            grid = part.subplots(len(lines), COLUMNS, squeeze=False, height_ratios=[_height(line) for line in lines])
            for axes in grid.flat:
                axes.axis("off")
            for line, places in zip(lines, grid, strict=True):
                most = max(len(ways) for _, ways in line)
                for (case, ways), axes in zip(line, places, strict=False):
                    _bars(axes, _title(*case), ways.sort_values("ratio", kind="stable"), most)

    return drawn("speed ratios", (11, sum(heights)), paint, "Time relative to the fastest other library")


def growth(rows: pd.DataFrame) -> str:
    """Draws the seconds of one megapixel against the side of an image, and against the images of a batch."""
    rows = rows[rows["part"] == "growth"]
    rows = rows.assign(side=rows["size"].str.split("x").str[0].astype(int))
    rows["cost"] = rows["seconds"] / (rows["batch"] * rows["side"] ** 2 / 1e6)
    machines = list(_by_machine(rows))

    def paint(figure: Figure) -> None:
        for part, (key, each) in zip(_parts(figure, [1] * len(machines)), machines, strict=True):
            _head(part, "Seconds for a megapixel of a U-Net's prediction: lower is faster", key)
            alone, small = each[each["batch"] == 1], each[each["side"] == each["side"].min()]
            left, right = part.subplots(1, 2, sharey=True)
            least = np.log(each["cost"].max() / each["cost"].min()) / 20  # the distance of two names
            _lines_by_way(left, alone, "side", "height and width of one image, pixels", least)
            side = each["side"].min()
            _lines_by_way(right, small, "batch", f"images of {side} x {side} in a batch", least)

    return drawn("speed growth", (11, 5 * len(machines)), paint, "Seconds per megapixel")


def _by_machine(rows: pd.DataFrame) -> Any:
    return rows.groupby(MACHINE, sort=False)


def _parts(figure: Figure, heights: list[float]) -> list[SubFigure]:
    return list(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).flat)


def _head(part: SubFigure, title: str, key: tuple[Any, ...]) -> None:
    part.suptitle(f"{title}\n{key[0]}, {key[1]} threads, {key[2]}", color=INK, fontsize=11, x=0.01, ha="left")


def _title(what: str, net: str, size: str, batch: int) -> str:
    if what in ("import", "build"):
        return f"{what} (a new process)"
    return f"{what}, {batch} of {size}" + ("" if what == "scores" else f", {net}")


def _lines(cases: list[Any]) -> Any:
    return (cases[start : start + COLUMNS] for start in range(0, len(cases), COLUMNS))


def _height(line: list[Any]) -> float:
    return 0.5 + 0.2 * max(len(ways) for _, ways in line)


def _bars(axes: Axes, title: str, ways: pd.DataFrame, most: int) -> None:
    axes.axis("on")
    axes.set_title(" ", fontsize=9)  # keeps the space of the title, which begins where the names do
    axes.annotate(title, (0, 1), (-95, 6), xycoords="axes fraction", textcoords="offset points", color=INK)
    places = range(len(ways))
    colors = [OURS if name.startswith("kseg") else PEERS for name in ways["way"]]
    axes.barh(places, ways["ratio"].clip(upper=LONGEST), color=colors, height=0.7)
    axes.vlines(1, -0.5, len(ways) - 0.5, color=INK, linewidth=0.6)
    for place, ratio, seconds, color in zip(places, ways["ratio"], ways["seconds"], colors, strict=True):
        inside = ratio > 0.6 * LONGEST
        text = f"{ratio:.2f}  {seconds:.3g} s" if ratio <= LONGEST else f"{ratio:.1f} (cut off)  {seconds:.3g} s"
        axes.text(
            min(ratio, LONGEST) + (-0.04 if inside else 0.06), place, text, va="center", fontsize=7.5,
            ha="right" if inside else "left", color=GROUND if inside and color == OURS else INK,
            bbox=None if inside else {"facecolor": GROUND, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    axes.set_yticks(places, ways["way"], color=INK, fontsize=8)
    axes.set_xlim(0, LONGEST)
    axes.set_ylim(most - 0.4, -0.6)
    axes.xaxis.set_major_locator(NullLocator())
    axes.spines[:].set_visible(False)


def _lines_by_way(axes: Axes, rows: pd.DataFrame, column: str, label: str, least: float) -> None:
    axes.set(xscale="log", yscale="log", xlabel=label)
    ticks = sorted(rows[column].unique())
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelleft=True)
    axes.grid(True, axis="y", linewidth=0.5)
    axes.spines[:].set_visible(False)
    ends = {}
    for name, line in rows.sort_values(column).groupby("way", sort=False):
        ours = str(name).startswith("kseg")
        axes.plot(line[column], line["cost"], "o-", color=OURS if ours else SOFT, markersize=3, linewidth=1.2)
        ends[str(name)] = line.iloc[-1]
    place = -np.inf
    for name, end in sorted(ends.items(), key=lambda each: each[1]["cost"]):
        place = max(np.log(end["cost"]), place + least)
        axes.annotate(
            name, (end[column], end["cost"]), (1.03, np.exp(place)), textcoords=axes.get_yaxis_transform(),
            va="center", fontsize=8, color=OURS if name.startswith("kseg") else INK,
            arrowprops={"arrowstyle": "-", "color": LINE, "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)},
        )  # fmt: skip
