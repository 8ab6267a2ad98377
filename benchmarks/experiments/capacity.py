"""Compute what training on 10^8 images and labeling 10^9 need, from the rates that other experiments measured."""

import pandas as pd

from benchmarks.experiments import FOLDER, read

PAGE = "docs/scale.md"
TRAIN, PREDICT = 10**8, 10**9
CORES = 64
"""Cores of a host."""
HOSTS = 100


def measure() -> pd.DataFrame:
    """Compute what 10^8 training images and 10^9 predictions need, from the measured rates per core."""
    speed, shards = read(FOLDER / "speed.csv"), read(FOLDER / "shards.csv")
    epoch = _row(speed, part="epoch", net="unet", way="kseg TensorFlow")
    label = _row(speed, part="predict", net="unet", way="kseg TensorFlow")
    packed = _row(shards, data="camvid", way="kseg, shards")
    tasks = [
        (f"train, one epoch, {epoch['size']}", TRAIN, epoch["cpu_seconds"] / epoch["batch"], epoch["processor"]),
        (f"read and augment for it, {packed['crop']}", TRAIN, 1 / packed["of_one_core"], packed["processor"]),
        (f"label, {label['size']}", PREDICT, label["cpu_seconds"] / label["batch"], label["processor"]),
    ]
    rows = [
        {
            "task": task,
            "images": images,
            "core_seconds_per_image": round(seconds, 4),
            "core_hours": round(images * seconds / 3600),
            "hours": round(images * seconds / 3600 / CORES / HOSTS, 2),
            "bytes_per_image": round(packed["shard_bytes"] / packed["images"]) if images == TRAIN else None,
            "processor": processor,
        }
        for task, images, seconds, processor in tasks
    ]
    return pd.DataFrame(rows)


def _row(rows: pd.DataFrame, **values: str) -> pd.Series:
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows.iloc[-1]


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for docs/scale.md."""
    stored = rows["bytes_per_image"] * rows["images"] / 1e12
    return pd.DataFrame(
        {
            "task": rows["task"],
            "images": [f"{value:,}" for value in rows["images"]],
            "core seconds per image": [f"{value:.3g}" for value in rows["core_seconds_per_image"]],
            "core hours": [f"{value:,.0f}" for value in rows["core_hours"]],
            f"hours on {HOSTS} hosts of {CORES} cores": [f"{value:.2f}" for value in rows["hours"]],
            "shards": ["" if pd.isna(value) else f"{value:.0f} TB" for value in stored],
            "processor": rows["processor"],
        }
    )
