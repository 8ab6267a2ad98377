"""Compute what training on 10^8 images and labeling 10^9 need, from the rates that other experiments measured."""

import pandas as pd

from benchmarks import leaderboard
from benchmarks.experiments import FOLDER, read

PAGE = "docs/scale.md"
TRAIN, PREDICT = 10**8, 10**9
CORES = 64
"""Cores of a host."""
HOSTS = 100


def measure() -> pd.DataFrame:
    """Compute what 10^8 training images and 10^9 predictions need, from the measured rates per core and per GPU."""
    speed, shards = read(FOLDER / "speed.csv"), read(FOLDER / "shards.csv")
    epoch = _row(speed, part="epoch", net="unet", way="kseg TensorFlow")
    label = _row(speed, part="predict", net="unet", way="kseg TensorFlow")
    packed = _row(shards, data="camvid", way="kseg, shards")
    written = _row(read(FOLDER / "cluster.csv"), way="Ray, 2 workers")
    shared = _shared_gpu()
    shard = round(packed["shard_bytes"] / packed["images"])
    result = round(written["bytes_written"] + written["bytes_of_records"])
    seconds = [each["cpu_seconds"] / each["batch"] for each in (epoch, label)]
    tasks = [
        (f"train, one epoch, {epoch['size']}", TRAIN, "core", seconds[0], shard, epoch["processor"]),
        (
            f"read and augment for it, {packed['crop']}",
            TRAIN,
            "core",
            1 / packed["of_one_core"],
            shard,
            packed["processor"],
        ),
        (
            f"train, one epoch of {len(shared)} networks at once, {shared['crop'][0]}",
            TRAIN,
            "GPU",
            1 / shared["images_per_second"].sum(),
            shard,
            shared["device"][0],
        ),
        (f"label, {label['size']}", PREDICT, "core", seconds[1], result, label["processor"]),
    ]
    rows = [
        {
            "task": task,
            "images": images,
            "unit": unit,
            "seconds_per_image": round(each, 5),
            "unit_hours": round(images * each / 3600),
            "hours": round(images * each / 3600 / HOSTS / (CORES if unit == "core" else 1), 2),
            "bytes_per_image": stored,
            "processor": processor,
        }
        for task, images, unit, each, stored, processor in tasks
    ]
    return pd.DataFrame(rows)


def _shared_gpu() -> pd.DataFrame:
    """Returns the rows of CamVid's networks that were trained at the same time on one GPU; their rates add."""
    rows = leaderboard.read(leaderboard.LEADERBOARDS / "camvid.csv")
    rows = rows[(rows["budget"] == "gpu") & rows["peer"].isna()]
    return rows[rows["commit"] == rows["commit"].iloc[0]].reset_index(drop=True)


def _row(rows: pd.DataFrame, **values: str) -> pd.Series:
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows.iloc[-1]


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    stored = rows["bytes_per_image"] * rows["images"] / 1e12
    return pd.DataFrame(
        {
            "task": rows["task"],
            "images": [f"{value:,}" for value in rows["images"]],
            "seconds per image": [f"{value:.3g}" for value in rows["seconds_per_image"]],
            "in hours": [f"{hours:,.0f} {unit} hours" for hours, unit in rows[["unit_hours", "unit"]].to_numpy()],
            f"hours on {HOSTS} hosts of {CORES} cores or a GPU": [f"{value:.2f}" for value in rows["hours"]],
            "storage": [f"{value:.3g} TB" for value in stored],
            "processor": rows["processor"],
        }
    )
