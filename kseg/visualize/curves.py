"""How training went, as curves."""

import csv
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kseg.visualize.chart import Chart
from kseg.visualize.grid import grid
from kseg.visualize.legend import legend
from kseg.visualize.palette import Color, default_palette

Points = list[tuple[float, float]]
Run = str | os.PathLike | Iterable[Mapping[str, Any]]


def curves(
    runs: Mapping[str, Run], *, columns: Sequence[str] = ("loss", "val_miou"), size: tuple[int, int] = (480, 300)
) -> np.ndarray:
    """Columns of training logs over the epochs, a chart a column, a line a run.

    Where a column begins with `val_`, a ring marks a run's highest value; the legend tells it.

    Args:
        runs: by the names to show: a run folder, its `log.csv`, or such rows.
        columns: what to draw; a column that no log has is left out.
        size: width and height of a chart in pixels, its texts apart.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        FileNotFoundError: if a log is not there.
        ValueError: if no log has any of the columns, or a value is no number.

    Example:
        >>> from kseg.visualize import curves
        >>> rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5, "val_miou": 0.4}]
        >>> curves({"unet": rows}).dtype
        dtype('uint8')
    """
    tables = {name: _rows(run) for name, run in runs.items()}
    lines = {column: {name: _points(name, rows, column) for name, rows in tables.items()} for column in columns}
    lines = {column: points for column, points in lines.items() if any(points.values())}
    if not lines:
        raise ValueError(
            f"no numbers in {' or '.join(columns)} of {', '.join(map(repr, runs)) or 'no runs'}: no epoch is over?"
        )
    colors = dict(zip(runs, _dark_colors(len(runs)), strict=True))
    every = [point for points in lines.values() for line in points.values() for point in line]
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    texts = dict(zip(runs, runs, strict=True))
    charts = []
    for column, points in lines.items():
        values = [y for line in points.values() for _, y in line]
        low, high = min(values), max(values)
        across, up = 0.02 * (last - first), 0.05 * (high - low)  # room for rings and lines at the edges
        x, y = (first - across, last + across), (low - up, high + up)
        chart = Chart(x, y, title=column, x_label="epoch", size=size, whole=True)
        for name, line in points.items():
            if line:
                chart.line(line, colors[name])
        for name, line in points.items():
            if line and column.startswith("val_"):
                epoch, best = max(line, key=lambda point: point[1])
                chart.dot((epoch, best), colors[name], radius=4, hollow=True)
                texts[name] += f", {column} {best:.4f} in epoch {epoch:.0f}"
        charts.append(chart.picture())
    return grid([charts], footer=legend(list(texts.values()), list(colors.values())))


def _rows(run: Run) -> list[Mapping[str, Any]]:
    if not isinstance(run, str | os.PathLike):
        return list(run)
    path = pathlib.Path(run)
    path = path / "log.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: name a run folder with a log.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _points(name: str, rows: list[Mapping[str, Any]], column: str) -> Points:
    """`(epoch, value)` where there is one."""
    points = []
    for row in rows:
        if row.get(column) in (None, ""):
            continue
        try:
            epoch, value = float(row["epoch"]), float(row[column])
        except (KeyError, TypeError, ValueError):
            found = f"{row[column]!r} in epoch {row.get('epoch')!r}"
            raise ValueError(f"{name}: {column} and epoch of a log are numbers, got {found}") from None
        if math.isfinite(value):
            points.append((epoch, value))
    return points


def _dark_colors(n: int) -> list[Color]:
    """Colours that can be seen on white: of the palette those that are dark enough."""
    weights = (0.299, 0.587, 0.114)
    dark = [color for color in default_palette(2 * n + 16) if np.dot(color, weights) < 170]
    return dark[:n]
