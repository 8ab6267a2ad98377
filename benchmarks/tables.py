"""Leaderboards as tables of text, for pages and the terminal."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd

PUBLISHED = pathlib.Path(__file__).parent / "published"
SAME = ["name", "family", "backend", "device"]
"""Rows that agree in these columns differ in the seed alone."""
TRAINED = ["budget", "backend", "device"]
"""Rows that agree in these columns can be compared."""
TIMED = ("seconds", "images_per_second", "peak_memory_mb", "inference_ms")
"""What depends on the machine: a table shows that of the first seed."""
RANKED = ("ImageNet", "none")
"""What models of the ranking may have been pretrained on; others are listed below it."""


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Averages the seeds of each recipe, and sorts by mIoU, with models pretrained on more than ImageNet at the end.

    Args:
        rows: A leaderboard.

    Returns:
        One row per recipe, with the mean of its scores, times and memory of its first seed, `seeds` (their count),
        `spread` (largest minus smallest mIoU), and `outside`, whether its pretraining excludes it from the ranking.
    """
    joined = []
    for _, group in rows.groupby(SAME, sort=False):
        one = group.iloc[0].to_dict()
        for column in group.select_dtypes("number"):
            if column not in TIMED and group[column].notna().any():
                one[column] = group[column].astype(float).mean()
        outside = not pd.isna(one["pretraining"]) and one["pretraining"] not in RANKED
        spread = group["miou"].max() - group["miou"].min()
        joined.append(one | {"seeds": len(group), "spread": spread, "outside": outside})
    return pd.DataFrame(joined).sort_values(["outside", "miou"], ascending=[True, False], ignore_index=True)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats what fits on a page of a leaderboard as columns of text, the best model first."""
    rows = ranked(rows)
    columns = {
        "name": [name if pd.isna(peer) else f"{name} (peer)" for name, peer in zip(rows.name, rows.peer, strict=True)],
        "encoder": rows["encoder"],
        "pretraining": rows["pretraining"].fillna(""),
        "mIoU": _scores(rows),
        "flips, scales": rows["miou_test_time"].map(percent),
        "pixel accuracy": rows["pixel_accuracy"].map(percent),
    }
    if "dice" in rows:
        (_, foreground) = [column for column in rows if str(column).startswith("iou_")]
        columns["Dice"] = rows["dice"].map(percent)
        columns[f"IoU {str(foreground).removeprefix('iou_')}"] = rows[foreground].map(percent)
    columns |= {
        "parameters": [f"{value / 1e6:.2f} M" for value in rows["parameters"]],
        "multiply-adds": ["" if pd.isna(value) else f"{value / 1e9:.1f} G" for value in rows["multiply_adds"]],
        "epochs, crop": [
            f"{epochs:.0f}" if pd.isna(crop) else f"{epochs:.0f}, {crop}"
            for epochs, crop in zip(rows["epochs"], rows["crop"], strict=True)
        ],
        "training": [f"{value / 60:.1f} min" for value in rows["seconds"]],
        "inference": [f"{value:.0f} ms" for value in rows["inference_ms"]],
        "device": _devices(rows),
        "backend": rows["backend"],
    }
    return pd.DataFrame(columns)


def best(rows: pd.DataFrame, count: int = 8) -> pd.DataFrame:
    """Formats the best row of each of the best models of a leaderboard, with fewer columns than `shown`."""
    table = shown(rows).drop_duplicates("name").head(count)
    columns = [
        "name",
        "mIoU",
        "flips, scales",
        "pixel accuracy",
        "parameters",
        "multiply-adds",
        "epochs, crop",
        "device",
    ]
    return table[columns]


def searched(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of the suite `search`, best first, with the points gained over `base` by the same training."""
    rows = ranked(rows).sort_values("miou", ascending=False)
    base = rows[rows["name"] == "base"].set_index(TRAINED)["miou"]
    trained = zip(*(rows[column] for column in TRAINED), strict=True)
    gained = [score - base.get(key, np.nan) for key, score in zip(trained, rows["miou"], strict=True)]
    columns: dict[str, Any] = {"recipe": rows["name"], "validation mIoU": _scores(rows)}
    columns["points over base"] = ["" if pd.isna(points) else f"{100 * points:+.2f}" for points in gained]
    columns["pixel accuracy"] = rows["pixel_accuracy"].map(percent)
    columns["epochs, crop"] = [
        f"{epochs:.0f}, {crop}" for epochs, crop in zip(rows["epochs"], rows["crop"], strict=True)
    ]
    return pd.DataFrame(columns | {"device": _devices(rows)})


def _scores(rows: pd.DataFrame) -> list[str]:
    return [with_spread(*each) for each in zip(rows["miou"], rows["seeds"], rows["spread"], strict=True)]


def _devices(rows: pd.DataFrame) -> list[str]:
    """Returns the devices of the rows; for a CPU the processor and the cores in use, which older rows do not name."""
    used = rows.get("processor", pd.Series(dtype=str)).reindex(rows.index)
    return [
        processor if device.startswith("CPU") and not pd.isna(processor) else device
        for device, processor in zip(rows["device"], used, strict=True)
    ]


def percent(share: float) -> str:
    """Formats a share of 0 to 1 in percent; it may be missing."""
    return "" if pd.isna(share) else f"{100 * share:.2f}"


def with_spread(mean: float, seeds: int, spread: float) -> str:
    """Formats a score, with half of the difference between the best and the worst seed if there are several."""
    return percent(mean) if seeds == 1 else f"{percent(mean)} (±{100 * spread / 2:.2f}, {seeds} seeds)"


def published() -> dict[str, pd.DataFrame]:
    """Returns the results that others published, by data set: columns of text, the best first."""
    tables = {path.stem: pd.read_csv(path, dtype=str, keep_default_na=False) for path in PUBLISHED.glob("*.csv")}
    order = {title: rows["mIoU"].astype(float).argsort(kind="stable")[::-1] for title, rows in tables.items()}
    return {title: rows.iloc[order[title]].reset_index(drop=True) for title, rows in tables.items()}


def markdown(table: pd.DataFrame) -> str:
    """Renders columns of text as a Markdown table, and `table.attrs["notes"]` as a list below it."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    notes = [f"- {note}" for note in table.attrs.get("notes", ())]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *([""] if notes else []), *notes]) + "\n"


def replaced(text: str, title: str, table: pd.DataFrame, page: str) -> str:
    """Replaces the table between the lines `<!-- title -->` and `<!-- end title -->` of a page in Markdown."""
    begin, end = f"<!-- {title} -->\n", f"<!-- end {title} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{page} lacks the line {begin.strip()!r} or {end!r}: add both")
    before, rest = text.split(begin)
    return before + begin + markdown(table) + rest[rest.index(end) :]
