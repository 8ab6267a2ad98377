"""Leaderboards as tables of text, for README.md and the terminal."""

import pathlib

import pandas as pd

PUBLISHED = pathlib.Path(__file__).parent / "published"
SAME = ["name", "family", "backend", "device"]
"""Rows that agree in these differ in the seed alone."""
RANKED = ("ImageNet", "none")
"""What models of the ranking may have been pretrained on; others stand below it."""


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Joins the seeds of one recipe, and sorts: the best mIoU first, then those that saw more than ImageNet.

    Args:
        rows: A leaderboard.

    Returns:
        A row a recipe, with the mean of its numbers, `seeds` (how many), `spread` (greatest less least mIoU), and
        `outside`, whether it stands outside the ranking for its pretraining.
    """
    joined = []
    for _, group in rows.groupby(SAME, sort=False):
        one = group.iloc[0].copy()
        for column in group.select_dtypes("number"):
            if group[column].notna().any():
                one[column] = group[column].astype(float).mean()
        one["seeds"] = len(group)
        one["spread"] = group["miou"].max() - group["miou"].min()
        joined.append(one)
    joined = pd.DataFrame(joined)
    joined["outside"] = joined["pretraining"].notna() & ~joined["pretraining"].isin(RANKED)
    return joined.sort_values(["outside", "miou"], ascending=[True, False], ignore_index=True)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Picks what fits on a page: the best first, percentages for scores.

    Args:
        rows: A leaderboard.

    Returns:
        Columns of text; `Dice` and the IoU of the object where there are two classes.
    """
    rows = ranked(rows)
    columns = {
        "name": [name if pd.isna(peer) else f"{name} (peer)" for name, peer in zip(rows.name, rows.peer, strict=True)],
        "encoder": rows["encoder"],
        "pretraining": rows["pretraining"].fillna(""),
        "mIoU": [_with_spread(*each) for each in zip(rows["miou"], rows["seeds"], rows["spread"], strict=True)],
        "flips, scales": [_percent(value) for value in rows["miou_test_time"]],
        "pixel accuracy": [_percent(value) for value in rows["pixel_accuracy"]],
    }
    if "dice" in rows:
        (_, foreground) = [column for column in rows if column.startswith("iou_")]
        columns |= {
            "Dice": [_percent(value) for value in rows["dice"]],
            f"IoU {foreground.removeprefix('iou_')}": [_percent(value) for value in rows[foreground]],
        }
    return pd.DataFrame(
        columns
        | {
            "parameters": [f"{value / 1e6:.2f} M" for value in rows["parameters"]],
            "multiply-adds": ["" if pd.isna(value) else f"{value / 1e9:.1f} G" for value in rows["multiply_adds"]],
            "epochs, crop": [_budget(*each) for each in zip(rows["epochs"], rows["crop"], strict=True)],
            "training": [f"{value / 60:.1f} min" for value in rows["seconds"]],
            "inference": [f"{value:.0f} ms" for value in rows["inference_ms"]],
            "device": rows["device"],
            "backend": rows["backend"],
        }
    )


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{100 * value:.1f}"


def _with_spread(mean: float, seeds: int, spread: float) -> str:
    return _percent(mean) if seeds == 1 else f"{_percent(mean)} (±{100 * spread / 2:.1f}, {seeds} seeds)"


def _budget(epochs: float, crop: str | None) -> str:
    return f"{epochs:.0f}" if pd.isna(crop) else f"{epochs:.0f}, {crop}"


def published(title: str) -> pd.DataFrame | None:
    """Reads what others published on a data set.

    Args:
        title: The leaderboard's name.

    Returns:
        Columns of text: model, mIoU, accuracy, size, pretraining, source; the best first. None where there is no list.
    """
    path = PUBLISHED / f"{title}.csv"
    if not path.is_file():
        return None
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return rows.iloc[rows["mIoU"].astype(float).argsort(kind="stable")[::-1]].reset_index(drop=True)


def markdown(table: pd.DataFrame) -> str:
    """Renders a table for README.md.

    Args:
        table: Columns of text.

    Returns:
        A Markdown table.
    """
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def replaced(text: str, title: str, table: pd.DataFrame) -> str:
    """Replaces the table between the two markers of a title.

    Args:
        text: Markdown that contains the lines `<!-- title -->` and `<!-- end title -->`.
        title: The title.
        table: Columns of text.

    Returns:
        The new text.

    Raises:
        ValueError: If the text lacks a marker.
    """
    begin, end = f"<!-- {title} -->\n", f"<!-- end {title} -->"
    if begin not in text or end not in text:
        raise ValueError(f"README.md lacks the line {begin.strip()!r} or {end!r}: add both")
    before, rest = text.split(begin)
    return before + begin + markdown(table) + rest[rest.index(end) :]
