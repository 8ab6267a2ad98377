"""Training logs as curves."""

import csv
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kseg.visualize.charts import Figure, drawn
from kseg.visualize.palette import default_palette
from kseg.visualize.text import fitting

Points = list[tuple[float, float]]
Run = str | os.PathLike | Iterable[Mapping[str, Any]]
GAP, BELOW = 70, 60  # pixels between charts, and from the charts down to the legend


def curves(
    runs: Mapping[str, Run], *, columns: Sequence[str] = ("loss", "val_miou"), size: tuple[int, int] = (480, 300)
) -> np.ndarray:
    """Draws columns of training logs over the epochs: one chart per column, one line per run.

    In columns whose name begins with `val_`, a ring marks the highest value of each run; the legend states it. In the
    chart of another column, such as `loss`, a dashed line shows `val_loss` if the log contains it.

    Args:
        runs: A run folder, its `log.csv` or the rows of such a file, by the name to show.
        columns: Columns to draw; columns without numbers in any log are left out.
        size: Width and height of a chart in pixels, without its texts.

    Returns:
        uint8 `(H, W, 3)`, white background.

    Raises:
        FileNotFoundError: If a log does not exist.
        ValueError: If no log has numbers in any of the columns, or a value is not a number.
        ImportError: If matplotlib is not installed.

    Example:
        >>> from kseg.visualize import curves
        >>> rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5, "val_miou": 0.4}]
        >>> curves({"unet": rows}).dtype
        dtype('uint8')
    """
    tables = {name: _rows(run) for name, run in runs.items()}
    lines = {column: {name: _points(name, rows, column) for name, rows in tables.items()} for column in columns}
    lines = {column: points for column, points in lines.items() if any(points.values())}
    dashed = {
        column: {name: _points(name, rows, f"val_{column}") for name, rows in tables.items()}
        for column in lines
        if not column.startswith("val_") and f"val_{column}" not in columns
    }
    if not lines:
        raise ValueError(
            f"no numbers in {' or '.join(columns)} of {', '.join(map(repr, runs)) or 'no runs'}: no epoch is over?"
        )
    width, height = len(lines) * (size[0] + GAP) - GAP, size[1]

    def paint(figure: Figure) -> None:
        from matplotlib.lines import Line2D

        palette = default_palette(2 * len(runs) + 16)
        dark = [color for color in palette if np.dot(color, (0.299, 0.587, 0.114)) < 170]  # to be seen on white
        colors = {name: f"#{bytes(color).hex()}" for name, color in zip(runs, dark[: len(runs)], strict=True)}
        texts = {name: fitting(name) for name in runs}
        charts = figure.subplots(
            1,
            len(lines),
            sharex=True,
            squeeze=False,
            gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": GAP / size[0]},
        )
        for axes, (column, points) in zip(charts[0], lines.items(), strict=True):
            for name, line in points.items():
                axes.plot(*zip(*line, strict=True), color=colors[name], marker="" if len(line) > 1 else "o")
            for name, line in points.items():
                if line and column.startswith("val_"):
                    epoch, best = max(line, key=lambda point: point[1])
                    axes.plot(epoch, best, "o", color=colors[name], markerfacecolor="white", zorder=3)
                    texts[name] += f", {column} {best:.4f} in epoch {epoch:.0f}"
            further = {name: line for name, line in dashed.get(column, {}).items() if line}
            for name, line in further.items():
                marker = "" if len(line) > 1 else "x"
                axes.plot(*zip(*line, strict=True), color=colors[name], linestyle="--", marker=marker)
            title = f"{column} (dashed: val_{column})" if further else column
            axes.set(title=fitting(title), xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.ticklabel_format(useOffset=False)
        handles = [Line2D([], [], color=color, linewidth=3) for color in colors.values()]
        figure.legend(handles, list(texts.values()), loc="upper center", bbox_to_anchor=(0.5, -BELOW / height))

    return drawn(paint, width, height, texts=[*runs, *lines])


def _rows(run: Run) -> list[Mapping[str, Any]]:
    if not isinstance(run, str | os.PathLike):
        return list(run)
    path = pathlib.Path(run)
    path = path / "log.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a run folder with a log.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _points(name: str, rows: list[Mapping[str, Any]], column: str) -> Points:
    """Returns `(epoch, value)` for the rows that hold a value."""
    points = []
    for row in rows:
        if row.get(column) in (None, ""):
            continue
        try:
            epoch, value = float(row["epoch"]), float(row[column])
        except (KeyError, TypeError, ValueError):
            found = f"{row[column]!r} in epoch {row.get('epoch')!r}"
            raise ValueError(f"{name}: {column} and epoch of a log must be numbers, got {found}") from None
        if math.isfinite(value):
            points.append((epoch, value))
    return points
