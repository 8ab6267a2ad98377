"""Time `kseg predict` without Ray, and on a cluster of one machine with one worker and with several."""

import json
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


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Runs `kseg predict` in a process of its own; returns the seconds that it states, and its CPU seconds."""
    before = _cpu_seconds()
    done = subprocess.run([sys.executable, "-m", "kseg.cli", *command], capture_output=True, text=True)
    found = re.search(r"labeled in ([0-9.]+) s", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"kseg {' '.join(command)}: {done.stderr.strip()}")
    return float(found[1]), _cpu_seconds() - before


def _cpu_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def cpu_of_workers(results: pathlib.Path) -> float:
    """Returns the CPU seconds per image that workers took after their first image, from the records; 0 without."""
    times: dict[str, list[float]] = {}
    for path in results.glob(".kseg-predict/??/*.json"):
        record = json.loads(path.read_text())
        times.setdefault(record["by"], []).append(record["cpu"])
    spent = sum(max(each) - min(each) for each in times.values())
    return spent / max(1, sum(len(each) - 1 for each in times.values()))


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
    """Time `kseg predict` without Ray, and on a cluster of one machine with one worker and with several.

    Rates are those of the images of the longer run that the shorter one does not have, without the start. Those of one
    core count CPU time, which other load on the machine hardly changes.
    """
    cores = machine.usable_cores()
    ways = {"without Ray": [], "Ray, 1 worker": ["--ray", "--workers", "1"]}
    ways |= {f"Ray, {count} workers": ["--ray", "--workers", str(count)] for count in {2, cores} if 1 < count <= cores}
    times: dict[tuple[str, int], tuple[float, float]] = {}
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
                    known = times.get((way, count), (math.inf, math.inf))
                    wall, cpu = seconds_of(command)
                    times[way, count] = min(known[0], wall), min(known[1], cpu)
        bytes_in = size_of(folder / str(many), "*.jpg") / many
        for way in ways:
            results = folder / f"{way} {many} 0"
            wall, cpu = ((b - a) / (many - few) for a, b in zip(times[way, few], times[way, many], strict=True))
            rows.append(
                {
                    "way": way,
                    "images_per_second": 1 / wall,
                    "of_one_core": 1 / (cpu + cpu_of_workers(results)),
                    "start_seconds": times[way, few][0] - few * wall,
                    "bytes_read": bytes_in,
                    "bytes_written": (size_of(results, "*.*") - size_of(results / ".kseg-predict", "*")) / many,
                    "bytes_of_records": size_of(results / ".kseg-predict", "*") / many,
                }
            )
    table = pd.DataFrame(rows)
    table.insert(3, "ratio", table.of_one_core / table.of_one_core[0])
    table = table.round({"images_per_second": 3, "of_one_core": 3, "ratio": 2, "start_seconds": 1})
    table = table.astype(dict.fromkeys(("bytes_read", "bytes_written", "bytes_of_records"), "int64"))
    origin = {"device": machine.device(), "commit": machine.current_commit()}
    return table.assign(model=weights, engine=engine, size=f"{size[0]}x{size[1]}", cores=cores, **origin)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "kseg predict": rows["way"],
            "images/s": [f"{value:.2f}" for value in rows["images_per_second"]],
            "images/s of one core": [f"{value:.2f}" for value in rows["of_one_core"]],
            "of one core, to the first": [f"{value:.2f}" for value in rows["ratio"]],
            "seconds to start": [f"{value:.0f}" for value in rows["start_seconds"]],
            "kB read per image": [f"{value / 1000:.0f}" for value in rows["bytes_read"]],
            "kB written per image": [f"{value / 1000:.0f}" for value in rows["bytes_written"]],
            "kB of records per image": [f"{value / 1000:.1f}" for value in rows["bytes_of_records"]],
        }
    )
