"""The leaderboards as one self-contained HTML page: sortable tables, and mIoU against multiply-adds."""

import html
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from benchmarks import plot, tables

TEMPLATE = pathlib.Path(__file__).parent / "page.html"


COLUMNS: dict[str, tuple[str, float, int] | str] = {
    "name": "name",
    "miou": ("mIoU", 100, 2),
    "miou_test_time": ("flips, scales", 100, 2),
    "pixel_accuracy": ("pixel accuracy", 100, 2),
    "mean_accuracy": ("mean accuracy", 100, 2),
    "frequency_weighted_iou": ("freq. weighted IoU", 100, 2),
    "dice": ("Dice", 100, 2),
    "encoder": "encoder",
    "pretraining": "pretraining",
    "peer": "peer",
    "budget": "budget",
    "epochs": ("epochs", 1, 0),
    "crop": "crop",
    "batch_size": ("batch", 1, 0),
    "precision": "precision",
    "parameters": ("parameters, M", 1e-6, 2),
    "multiply_adds": ("multiply-adds, G", 1e-9, 1),
    "seconds": ("training, min", 1 / 60, 1),
    "images_per_second": ("training, images/s", 1, 1),
    "peak_memory_mb": ("peak memory, MB", 1, 0),
    "inference_ms": ("inference, ms", 1, 0),
    "seeds": ("seeds", 1, 0),
    "spread": ("spread of mIoU", 100, 2),
    "size": "size",
    "device": "device",
    "processor": "processor",
    "backend": "backend",
    "recipe": "recipe",
    "commit": "commit",
}
"""For each column of the CSV, its heading; for numbers also a factor and the number of digits after the point."""


def document(boards: Mapping[str, pd.DataFrame]) -> str:
    """Writes the HTML page of leaderboards, by name, as `benchmarks.leaderboard.all_boards` returns them."""
    sections, published = [], tables.published()
    for title, board in boards.items():
        rows = tables.ranked(board)
        parts = [f"<h2>{html.escape(title)}</h2>"]
        if rows["multiply_adds"].notna().any():
            parts += [plot.scatter(rows, title, kind, size) for kind, size in (("wide", (11, 5)), ("narrow", (4, 4)))]
            parts.append(_legend(rows))
        ranking, others = rows[~rows["outside"]], rows[rows["outside"]]
        parts += [_table(ranking)] * (not ranking.empty)
        if not others.empty:
            parts += ["<h3>Outside the ranking: pretrained on more than ImageNet</h3>", _table(others)]
        if title in published:
            heads = [(str(column), column not in ("mIoU", "accuracy")) for column in published[title]]
            lines = [[(cell, cell) for cell in line] for line in published[title].to_numpy().tolist()]
            parts += ["<h3>Published by others</h3>", "<p>Sizes and pretraining differ.</p>", _grid(heads, lines)]
        sections.append(f'<section id="{html.escape(title)}">\n' + "\n".join(parts) + "\n</section>")
    return TEMPLATE.read_text("utf-8").replace("{{sections}}", "\n".join(sections))


def _table(rows: pd.DataFrame) -> str:
    ious = {name: (f"IoU {name[4:]}", 100, 2) for name in map(str, rows) if name.startswith("iou_")}
    columns = {name: how for name, how in (COLUMNS | ious).items() if name in rows and rows[name].notna().any()}
    heads = [(how, True) if isinstance(how, str) else (how[0], False) for how in columns.values()]
    lines = [[_cell(row[name], how) for name, how in columns.items()] for row in rows.to_dict("records")]
    return _grid(heads, lines)


def _cell(value: Any, how: tuple[str, float, int] | str) -> tuple[str, str]:
    """The text of a cell, and the value by which it is sorted."""
    if pd.isna(value):
        return "", ""
    if isinstance(how, str):
        return str(value), str(value)
    _, factor, digits = how
    return f"{factor * value:.{digits}f}", repr(float(value))


def _grid(heads: list[tuple[str, bool]], lines: Iterable[list[tuple[str, str]]]) -> str:
    """A table that is sorted by mIoU; `heads` are the headings and whether their columns hold text."""
    kinds = [' class="text"' if text else "" for _, text in heads]
    top = "".join(
        f"<th{kind}{' aria-sort=descending' if title == 'mIoU' else ''}><button>{html.escape(title)}</button></th>"
        for (title, _), kind in zip(heads, kinds, strict=True)
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


def _legend(rows: pd.DataFrame) -> str:
    names = dict(zip(plot.COLORS, ("blue", "green", "orange"), strict=True))
    parts = [f"the {budget} budget in {names[budget]}" for budget in names if (rows["budget"] == budget).any()]
    parts += ["peers as rings"] * bool(rows["peer"].notna().any())
    return f"<p>Drawn: {', '.join(parts)}.</p>" if parts else ""
