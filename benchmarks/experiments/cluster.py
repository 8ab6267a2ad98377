"""Time `kseg predict` without Ray, and on a cluster of one machine with one worker and with several."""

import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Annotated

import pandas as pd
import typer
from PIL import Image

from benchmarks import machine
from kseg import data

PAGE = "docs/scale.md"


def seconds_of(command: list[str]) -> float:
    """Runs `kseg predict` in a process of its own, and returns the seconds that it states."""
    done = subprocess.run([sys.executable, "-m", "kseg.cli", *command], capture_output=True, text=True)
    found = re.search(r"labeled in ([0-9.]+) s", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"kseg {' '.join(command)}: {done.stderr.strip()}")
    return float(found[1])


def size_of(folder: pathlib.Path, pattern: str) -> int:
    """Returns the number of bytes of the files of a pattern."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def measure(
    *,
    weights: Annotated[str, typer.Option(help="The model.")] = "unet-efficientnet_lite0-camvid",
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the images.")] = (360, 480),
    engine: Annotated[str, typer.Option(help="What runs the network.")] = "keras",
    few: Annotated[int, typer.Option(help="Images of the shorter run of each way.")] = 16,
    many: Annotated[int, typer.Option(help="Images of the longer run.")] = 112,
    rounds: Annotated[int, typer.Option(help="How often each way runs; the fastest run counts.")] = 2,
) -> pd.DataFrame:
    """Time `kseg predict` without Ray, and on a cluster of one machine with one worker and with several."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ways = {"without Ray": [], "Ray, 1 worker": ["--ray", "--workers", "1"]}
    ways |= {f"Ray, {count} workers": ["--ray", "--workers", str(count)] for count in {2, cores} if 1 < count <= cores}
    times: dict[tuple[str, int], float] = {}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for count in (few, many):
            (folder / str(count)).mkdir()
            streets = data.load("streets", "test", count=count, size=size)
            for number in range(count):
                Image.fromarray(streets[number][0]).save(folder / str(count) / f"{number:06d}.jpg", quality=90)
        for turn in range(rounds):
            for count in (few, many):
                for way, options in ways.items():
                    out = folder / f"{way} {count} {turn}"
                    command = ["predict", str(folder / str(count)), "--weights", weights, "-o", str(out)]
                    command += ["--engine", engine, *options]
                    times[way, count] = min(times.get((way, count), math.inf), seconds_of(command))
        bytes_in = size_of(folder / str(many), "*.jpg") / many
        for way in ways:
            results = folder / f"{way} {many} 0"
            rate = (many - few) / (times[way, many] - times[way, few])
            rows.append(
                {
                    "way": way,
                    "images_per_second": rate,
                    "start_seconds": times[way, few] - few / rate,
                    "bytes_read": bytes_in,
                    "bytes_written": (size_of(results, "*.*") - size_of(results / ".kseg-predict", "*")) / many,
                    "bytes_of_records": size_of(results / ".kseg-predict", "*") / many,
                }
            )
    table = pd.DataFrame(rows)
    table.insert(2, "ratio", table.images_per_second / table.images_per_second[0])
    table = table.round({"images_per_second": 3, "ratio": 2, "start_seconds": 1})
    table = table.astype(dict.fromkeys(("bytes_read", "bytes_written", "bytes_of_records"), "int64"))
    origin = {"device": machine.device(), "commit": machine.current_commit()}
    return table.assign(model=weights, engine=engine, size=f"{size[0]}x{size[1]}", cores=cores, **origin)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for docs/scale.md."""
    return pd.DataFrame(
        {
            "kseg predict": rows["way"],
            "images/s": [f"{value:.2f}" for value in rows["images_per_second"]],
            "to the first": [f"{value:.2f}" for value in rows["ratio"]],
            "seconds to start": [f"{value:.0f}" for value in rows["start_seconds"]],
            "kB read per image": [f"{value / 1000:.0f}" for value in rows["bytes_read"]],
            "kB written": [f"{value / 1000:.0f}" for value in rows["bytes_written"]],
            "kB of records": [f"{value / 1000:.1f}" for value in rows["bytes_of_records"]],
        }
    )
