"""Measure how many images per second the input pipeline delivers, and which stage takes the time; without a model."""

import os
import time
from collections.abc import Callable
from typing import Annotated

import pandas as pd
import typer

from benchmarks import suite
from kseg import data
from kseg.training import dataset

SAMPLE = 64
"""Images on which single stages are timed."""


def throughput(
    split: data.Dataset, augment: data.augment.Augmentation | None, batch_size: int, seconds: float
) -> tuple[float, float]:
    """Reads batches as training does, for a number of seconds after the threads have started.

    Returns images per second, and images per second of CPU time, which other load on the machine hardly changes.
    """
    batches = iter(data.loader(split, batch_size=batch_size, augment=augment))
    for _ in range(2 * (os.cpu_count() or 1)):
        next(batches)
    start, core, count = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - start) < seconds:
        count += len(next(batches)[0])
    return count / passed, count / (time.process_time() - core)


def _stage_speed(stage: Callable[[int], object], count: int) -> float:
    """Returns the images per second of one stage, called on one thread with the index of the image."""
    stage(0)
    start = time.perf_counter()
    for place in range(SAMPLE):
        stage(place % count)
    return SAMPLE / (time.perf_counter() - start)


def measure(
    *,
    name: Annotated[
        str, typer.Option("--suite", help="The suite whose data, crop and batch size are used.")
    ] = "camvid",
    data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None,
    budget: Annotated[str, typer.Option(help="cpu, cpu-long or gpu.")] = "gpu",
    seconds: Annotated[float, typer.Option(help="How long to read for each number.")] = 5.0,
) -> pd.DataFrame:
    """Measure how many images per second the input pipeline delivers, and which stage takes the time."""
    recipe = next(iter(suite.load(name, budget).recipes.values()))
    section = recipe.data
    uncached = section.model_copy(update={"options": section.options | {"memory_limit": 0}})
    files = dataset(recipe.model_copy(update={"data": uncached}), "train", data_root)
    memory = dataset(recipe, "train", data_root)
    for place in range(len(memory)):
        memory[place]  # images stay in memory once they are read
    whole = data.augment.pipeline(section.augment, crop=section.crop, scale=section.scale)
    crop = data.augment.pipeline("none", crop=section.crop, scale=section.scale)
    rows = []
    for source, split in (("files", files), ("memory", memory)):
        for title, augment in (("not augmented", None), ("augmented", whole)):
            speed, per_core = throughput(split, augment, section.batch_size, seconds)
            rows.append({"what": f"from {source}, {title}", "images_per_second": speed, "of_one_core": per_core})
    stages: dict[str, Callable[[int], object]] = {
        "reading and decoding": files.__getitem__,
        "copying from memory": memory.__getitem__,
        "scale and crop": lambda place: crop(*memory[place], place),
        f"all of {section.augment!r}": lambda place: whole(*memory[place], place),
    }
    for title, stage in stages.items():
        speed = _stage_speed(stage, min(len(memory), SAMPLE))
        rows.append({"what": f"one thread: {title}", "images_per_second": speed, "of_one_core": speed})
    table = pd.DataFrame(rows)
    table["ratio"] = table["images_per_second"] / table["images_per_second"][0]
    return table.round(2)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "what": rows["what"],
            "images/s": [f"{value:.0f}" for value in rows["images_per_second"]],
            "images/s of one core": [f"{value:.0f}" for value in rows["of_one_core"]],
            "to the first": [f"{value:.2f}" for value in rows["ratio"]],
        }
    )
