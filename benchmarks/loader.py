"""How many images a second the input pipeline delivers, and where its time goes; no model takes part."""

import os
import time
from collections.abc import Callable

import pandas as pd

from kseg import data
from kseg.training import Recipe, dataset

SAMPLE = 64
"""Images on which single stages are timed."""


def throughput(
    split: data.Dataset, augment: data.augment.Augmentation | None, batch_size: int, seconds: float
) -> tuple[float, float]:
    """Reads batches as training does.

    Args:
        split: Images and labels.
        augment: As in `kseg.data.loader`.
        batch_size: Images a batch.
        seconds: How long to read.

    Returns:
        Images a second, threads started and the first batches left out; and images for each second of one core, which
        other work on the machine hardly changes.
    """
    batches = iter(data.loader(split, batch_size=batch_size, augment=augment))
    for _ in range(2 * (os.cpu_count() or 1)):
        next(batches)
    start, core, count = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - start) < seconds:
        count += len(next(batches)[0])
    return count / passed, count / (time.process_time() - core)


def milliseconds(stage: Callable[[int], object]) -> float:
    """Times a stage on one thread.

    Args:
        stage: A function of the number of the image.

    Returns:
        Milliseconds an image.
    """
    stage(0)
    start = time.perf_counter()
    for place in range(SAMPLE):
        stage(place)
    return 1000 * (time.perf_counter() - start) / SAMPLE


def measure(recipe: Recipe, data_root: str | None = None, seconds: float = 5.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures the pipeline of a recipe.

    Args:
        recipe: `[data]` is read.
        data_root: As in `kseg.training.train`.
        seconds: How long to read for each number.

    Returns:
        `what`, `images_per_second`, `of_one_core` (see `throughput`) and `ratio` (to decoding alone) of reading with
        and without augmentation, from files and from memory, where images stay after the first epoch; and `stage`,
        `ms` an image on one thread.
    """
    section = recipe.data
    limits = {"memory_limit": 0}, {}
    files, memory = (
        dataset(
            recipe.model_copy(update={"data": section.model_copy(update={"options": section.options | limit})}),
            "train",
            data_root,
        )
        for limit in limits
    )
    for place in range(len(memory)):
        memory[place]
    whole = data.augment.pipeline(section.augment, crop=section.crop, scale=section.scale)
    pipelines = {"not augmented": None, "augmented": whole}
    rows = []
    for place, split in (("files", files), ("memory", memory)):
        for title, augment in pipelines.items():
            speed, of_a_core = throughput(split, augment, section.batch_size, seconds)
            rows.append({"what": f"from {place}, {title}", "images_per_second": speed, "of_one_core": of_a_core})
    table = pd.DataFrame(rows)
    table["ratio"] = table["images_per_second"] / table["images_per_second"][0]
    crop = data.augment.pipeline("none", crop=section.crop, scale=section.scale)
    count = min(len(memory), SAMPLE)
    stages = {
        "reading and decoding": lambda place: files[place % count],
        "copying from memory": lambda place: memory[place % count],
        "scale and crop": lambda place: crop(*memory[place % count], place),
        f"all of {section.augment!r}": lambda place: whole(*memory[place % count], place),
    }
    return table, pd.DataFrame([{"stage": name, "ms": milliseconds(stage)} for name, stage in stages.items()])
