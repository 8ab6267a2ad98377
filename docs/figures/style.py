"""Colors, fonts and sizes that the pictures of the site share."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, LINE = "#1c2330", "#566072", "#c9d0dc"
BLUE, ORANGE, GREEN, PURPLE = "#0b63c5", "#d9730d", "#2e8b57", "#7a4fb5"
"""Colors that remain distinct for color-blind people."""
SETTINGS: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "svg.fonttype": "none",
    "svg.hashsalt": "kseg",
    "figure.facecolor": "white",
}


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Applies the settings of the site's pictures."""
    with matplotlib.rc_context(SETTINGS):
        yield


def panels(columns: int, *, rows: int = 1, width: float = 2.4, height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its axes from left to right, then down. Sizes are in inches per panel."""
    figure = Figure((columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def without_ticks(axes: Axes, title: str = "") -> None:
    """Removes the ticks of a panel and sets its title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
