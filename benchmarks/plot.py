"""Charts by matplotlib as SVG: mIoU against multiply-adds for the page of leaderboards, and others as files."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

COLORS = {"gpu": "#0b63c5", "cpu-long": "#1b7a3d", "cpu": "#a84300"}
"""The color of each budget; page.html has the same as variables, and their dark variants."""
VARIABLES = {"#1c2330": "var(--ink)", "#5b6577": "var(--soft)", "#d9dee7": "var(--line)", "#ffffff": "var(--ground)"}
VARIABLES |= {color: f"var(--{budget})" for budget, color in COLORS.items()}
"""Colors that the page replaces by those of its style sheet, which has a dark variant."""
INK, SOFT, LINE, GROUND, *_ = VARIABLES
COMPACT = {
    r"<!--.*?-->|font-family: [^;]*; | transform=\"rotate\(-0 .*?\"": "",  # the page has its own font
    r' id="(?!(point|name)-|[mp][0-9a-f]{10}")[^"]*"': "",  # of groups that nothing refers to
    r"(\.\d\d)\d+(?=[^<>]*>)": r"\1",  # a hundredth of a point is enough
    r"\s*\n\s*": " ",
    r"(?<=>) | (?=/?>)": "",
}
"""Patterns of what the page does not need, and their replacements."""
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "font.size": 9,
    "text.color": SOFT,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": LINE,
}


def scatter(rows: pd.DataFrame, title: str, kind: str, size: tuple[float, float]) -> str:
    """Draws a point for each row of `benchmarks.tables.ranked` that has multiply-adds, as an SVG element.

    The names stand in a column beside the axes. Ids contain `title`; `kind` is a class of the page's style sheet.
    """
    rows = rows[rows["multiply_adds"].notna()].sort_values("miou", ascending=False, kind="stable")
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": f"{title} {kind}"}):  # type: ignore[arg-type]
        figure = Figure(size, layout="constrained")
        axes = figure.add_subplot(xscale="log", xlabel="multiply-adds for one image, G", ylabel="mIoU, %")
        axes.grid(True)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        for place, row in enumerate(rows.to_dict("records")):
            x, y = row["multiply_adds"] / 1e9, 100 * row["miou"]
            color = COLORS.get(row["budget"], INK)
            face = color if pd.isna(row["peer"]) else GROUND
            (point,) = axes.plot(x, y, "o", color=color, markerfacecolor=face, clip_on=False)
            point.set_gid(f"point-{place}")
            axes.annotate(
                row["name"] if len(row["name"]) < 40 else row["name"][:39] + "…",
                (x, y),
                (1.04, 0.98 - 0.96 * place / max(len(rows) - 1, 1)),
                textcoords="axes fraction",
                va="center",
                color=INK,
                gid=f"name-{place}",
                arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkB": 4, "relpos": (0, 0.5)},
            )
        svg = _svg(figure, transparent=True)
    for pattern, replacement in (COMPACT | VARIABLES).items():
        svg = re.sub(pattern, replacement, svg)
    svg = re.sub(r'((?<= id=")|(?<=[("]#))(?=[a-z])', f"{title}-{kind}-", svg)
    return svg.replace("<svg", f'<svg class="{kind}" role="img" aria-label="mIoU against multiply-adds"', 1)


def drawn(title: str, size: tuple[float, float], paint: Callable[[Figure], None], label: str) -> str:
    """Draws an SVG file on white; equal contents give equal bytes. `label` is the text for screen readers."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": title}):  # type: ignore[arg-type]
        figure = Figure(size, layout="constrained")
        paint(figure)
        return _svg(figure).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _svg(figure: Figure, **options: Any) -> str:
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")), **options)
    svg = content.getvalue()
    return svg[svg.index("<svg") :]
