"""The leaderboards as one static page: sortable tables, mIoU against multiply-adds, nothing from outside."""

import html
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from benchmarks import tables

TEMPLATE = pathlib.Path(__file__).parent / "page.html"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


COLUMNS: dict[str, tuple[str, Callable[[Any], str] | None]] = {
    "name": ("name", None),
    "miou": ("mIoU", _percent),
    "miou_test_time": ("flips, scales", _percent),
    "pixel_accuracy": ("pixel accuracy", _percent),
    "mean_accuracy": ("mean accuracy", _percent),
    "frequency_weighted_iou": ("freq. weighted IoU", _percent),
    "dice": ("Dice", _percent),
    "encoder": ("encoder", None),
    "pretraining": ("pretraining", None),
    "peer": ("peer", None),
    "budget": ("budget", None),
    "epochs": ("epochs", "{:.0f}".format),
    "crop": ("crop", None),
    "batch_size": ("batch", "{:.0f}".format),
    "precision": ("precision", None),
    "parameters": ("parameters, M", lambda value: f"{value / 1e6:.2f}"),
    "multiply_adds": ("multiply-adds, G", lambda value: f"{value / 1e9:.1f}"),
    "seconds": ("training, min", lambda value: f"{value / 60:.1f}"),
    "images_per_second": ("training, images/s", "{:.1f}".format),
    "peak_memory_mb": ("peak memory, MB", "{:.0f}".format),
    "inference_ms": ("inference, ms", "{:.0f}".format),
    "seeds": ("seeds", "{:.0f}".format),
    "spread": ("spread of mIoU", _percent),
    "size": ("size", None),
    "device": ("device", None),
    "backend": ("backend", None),
    "recipe": ("recipe", None),
    "commit": ("commit", None),
}
"""Column of the CSV: its heading, and how a number is written; None for text."""


def page(boards: Mapping[str, pd.DataFrame]) -> str:
    """Writes the page.

    Args:
        boards: Leaderboards by name, as `benchmarks.leaderboard.read` gives them.

    Returns:
        HTML, whole.
    """
    sections = []
    for title, board in boards.items():
        rows = tables.ranked(board)
        parts = [f"<h2>{html.escape(title)}</h2>"]
        if rows["multiply_adds"].notna().any():
            parts += [scatter(rows, 900, 460, "wide"), scatter(rows, 360, 380, "narrow"), _legend(rows)]
        ranking, others = rows[~rows["outside"]], rows[rows["outside"]]
        parts += [_table(ranking)] * (not ranking.empty)
        if not others.empty:
            parts += ["<h3>Outside the ranking: pretrained on more than ImageNet</h3>", _table(others)]
        if (published := tables.published(title)) is not None:
            parts += ["<h3>Published by others</h3>", "<p>Sizes and pretraining differ.</p>", _published(published)]
        sections.append(f'<section id="{html.escape(title)}">\n' + "\n".join(parts) + "\n</section>")
    return TEMPLATE.read_text("utf-8").replace("{{sections}}", "\n".join(sections))


def _table(rows: pd.DataFrame) -> str:
    classes = {name: (f"IoU {name.removeprefix('iou_')}", _percent) for name in rows if name.startswith("iou_")}
    columns = {name: how for name, how in (COLUMNS | classes).items() if name in rows and rows[name].notna().any()}
    heads = [(title, how is None) for title, how in columns.values()]
    lines = []
    for row in rows.to_dict("records"):
        cells = []
        for name, (_, how) in columns.items():
            value = row[name]
            known = not pd.isna(value)
            shown = "" if not known else str(value) if how is None else how(value)
            cells.append((shown, shown if how is None or not known else repr(float(value))))
        lines.append(cells)
    return _grid(heads, lines, "miou" in columns and list(columns).index("miou"))


def _published(rows: pd.DataFrame) -> str:
    heads = [(column, column not in ("mIoU", "accuracy")) for column in rows]
    return _grid(heads, [[(cell, cell) for cell in line] for line in rows.to_numpy().tolist()], 1)


def _grid(heads: list[tuple[str, bool]], lines: Iterable[list[tuple[str, str]]], by: int) -> str:
    """A table; a cell is what it shows and what it is sorted by, `by` the column that it is sorted by already."""
    kinds = [' class="text"' if text else "" for _, text in heads]
    top = "".join(
        f"<th{kind}{' aria-sort=descending' if place == by else ''}><button>{html.escape(title)}</button></th>"
        for place, ((title, _), kind) in enumerate(zip(heads, kinds, strict=True))
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td{kind} data-value="{html.escape(value)}">{html.escape(shown)}</td>'
            for (shown, value), kind in zip(cells, kinds, strict=True)
        )
        + "</tr>"
        for cells in lines
    )
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def scatter(rows: pd.DataFrame, width: int, height: int, kind: str) -> str:
    """Draws mIoU against multiply-adds, a labelled point for each row that has both.

    Args:
        rows: What `benchmarks.tables.ranked` returned.
        width: Of the drawing, pixels.
        height: Of the drawing, pixels.
        kind: Its class in the style sheet.

    Returns:
        An SVG element.
    """
    rows = rows[rows["multiply_adds"].notna()]
    left, right, top, bottom = 44, 16, 28, 44
    x_ticks = _decades(rows["multiply_adds"].astype(float) / 1e9)
    y_ticks = _steps(100 * rows["miou"])
    low, high = math.log(x_ticks[0]), math.log(x_ticks[-1])

    def x(giga: float) -> float:
        return left + (math.log(giga) - low) / (high - low) * (width - left - right)

    def y(miou: float) -> float:
        return height - bottom - (miou - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (height - top - bottom)

    drawn = [
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="mIoU against multiply-adds">',
        f'<text x="{left}" y="14">mIoU, %</text>',
        f'<text x="{width - right}" y="{height - 6}" text-anchor="end">multiply-adds for one image, G</text>',
    ]
    for tick in y_ticks:
        drawn.append(f'<line x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        drawn.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        drawn.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{height - bottom}"/>')
        drawn.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 18}" text-anchor="middle">{tick:g}</text>')
    points = [(x(row["multiply_adds"] / 1e9), y(100 * row["miou"])) for row in rows.to_dict("records")]
    taken = [(px - 7, py - 7, px + 7, py + 7) for px, py in points]
    for row, (px, py) in zip(rows.to_dict("records"), points, strict=True):
        name = row["name"] if len(row["name"]) < 40 else row["name"][:39] + "…"
        marks = [row["budget"]] * (not pd.isna(row["budget"])) + ["peer"] * (not pd.isna(row["peer"]))
        told = html.escape(f"{row['name']}: mIoU {100 * row['miou']:.1f}, {row['multiply_adds'] / 1e9:.1f} G")
        place = f'cx="{px:.1f}" cy="{py:.1f}" r="5"'
        drawn.append(f'<circle class="{" ".join(marks)}" {place}><title>{told}</title></circle>')
        frame = (left, top, width - 2, height - bottom)
        tx, ty, anchor = _place(px, py, 6.8 * len(name), frame, taken)
        place = f'x="{tx:.1f}" y="{ty:.1f}" text-anchor="{anchor}"'
        drawn.append(f'<text class="label" {place}>{html.escape(name)}</text>')
    return "\n".join([*drawn, "</svg>"])


def _legend(rows: pd.DataFrame) -> str:
    colours = {"gpu": "blue", "cpu": "orange"}
    told = [f"the {budget} budget in {colours[budget]}" for budget in colours if (rows["budget"] == budget).any()]
    told += ["peers as rings"] * bool(rows["peer"].notna().any())
    return f"<p>Drawn: {', '.join(told)}.</p>" if told else ""


Box = tuple[float, float, float, float]


def _place(x: float, y: float, length: float, frame: Box, taken: list[Box]) -> tuple[float, float, str]:
    """Finds a free place for a point's label, and takes it: beside the point, else above and below, ever further."""

    def box(place: tuple[float, float, str]) -> Box:
        left = place[0] - {"start": 0.0, "middle": length / 2, "end": length}[place[2]]
        return left, place[1] - 10, left + length, place[1] + 3

    def crowded(place: tuple[float, float, str]) -> float:
        """How much of the label covers others or leaves the frame."""
        mine = box(place)
        out = sum(max(frame[side] - mine[side], mine[side + 2] - frame[side + 2], 0) for side in (0, 1))
        return 1000 * out + sum(_shared(mine, other) for other in taken)

    heights = [y + 4 + sign * step * 7 for step in range(12) for sign in (1, -1)]
    sides = ((x + 9, "start"), (x - 9, "end"), (x, "middle"))
    best = min(((tx, ty, anchor) for ty in heights for tx, anchor in sides), key=crowded)  # of equals the nearest
    taken.append(box(best))
    return best


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width, height = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
    return max(width, 0.0) * max(height, 0.0)


def _decades(values: pd.Series) -> list[float]:
    """Ticks 1, 2, 5, 10 and so on around positive values."""
    ticks = [factor * 10.0**power for power in range(-4, 5) for factor in (1, 2, 5)]
    first = max(place for place, tick in enumerate(ticks) if tick < values.min() or place == 0)
    last = min(place for place, tick in enumerate(ticks) if tick > values.max() or place == len(ticks) - 1)
    return ticks[first : last + 1]


def _steps(values: pd.Series) -> list[float]:
    """Round ticks around values of 0 to 100."""
    step = next(step for step in (1, 2, 5, 10, 20, 50) if (values.max() - values.min()) / step <= 6)
    first, last = math.floor(values.min() / step), math.floor(values.max() / step) + 1
    return [step * place for place in range(first, last + 1)]
