"""Measure how many images per second are read from packed shards, from the folder, and by PyTorch's DataLoader."""

import contextlib
import itertools
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from PIL import Image

from benchmarks import machine
from kseg import data, training

KEY = ["data", "crop", "processor", "way"]
PAGE = "docs/shards.md"
WAYS = {
    "folder": "kseg, folder", "shards": "kseg, shards", "torch": "PyTorch DataLoader, folder",
    "folder plain": "kseg, folder, not augmented", "shards plain": "kseg, shards, not augmented",
}  # fmt: skip


def measure(
    *,
    name: Annotated[str, typer.Option("--data", help="camvid, nuclei or streets.")] = "camvid",
    data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None,
    crop: Annotated[tuple[int, int], typer.Option(help="Height and width of the crop.")] = (360, 480),
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Threads of kseg, and processes of PyTorch.")] = 2,
    seconds: Annotated[float, typer.Option(help="How long to read for each number.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way reads, in turn with the others.")] = 5,
) -> pd.DataFrame:
    """Measure how many images per second are read and augmented, from shards, a folder, and by PyTorch's DataLoader."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        written, classes = _write(data.load(name, "train", root=data_root), root / "folder")
        recipe = {"folder": str(root / "folder"), "classes": classes, "ignore": [255]}
        content = {"epochs": 1, "data": recipe, "model": {"builder": "unet"}}
        packed = training.pack(training.Recipe.from_dict(content), root / "packed", progress=False)["train"]
        options: dict[str, Any] = {"memory_limit": 0}
        folder = data.FolderDataset(root / "folder", "train", classes=classes, ignore=[255], **options)
        shards = data.ShardDataset(root / "packed", "train", **options)
        augments = {title: data.augment.pipeline(title, crop=crop) for title in ("street", "none")}

        def read(dataset: data.Dataset, augment: str) -> Iterator[Any]:
            return iter(data.loader(dataset, batch_size=batch_size, augment=augments[augment], num_threads=workers))

        from benchmarks.peers import files

        peer = files.loader(str(root / "folder"), crop, batch_size, workers)
        streams = {
            "folder": read(folder, "street"),
            "shards": read(shards, "street"),
            "torch": itertools.chain.from_iterable(itertools.repeat(peer)),
            "folder plain": read(folder, "none"),
            "shards plain": read(shards, "none"),
        }
        speeds: dict[str, list[tuple[float, float]]] = {way: [] for way in streams}
        for number in range(rounds + 1):
            for way, stream in streams.items():
                speed = _speed(stream, 2 * workers + 2, seconds)
                if number:  # the first round reads the files into the memory of the system, and starts processes
                    speeds[way].append(speed)
    middle = {way: [statistics.median(each) for each in zip(*found, strict=True)] for way, found in speeds.items()}
    rows = [
        {
            "data": name, "crop": f"{crop[0]}x{crop[1]}", "way": WAYS[way],
            "images_per_second": round(middle[way][0], 1), "lowest": round(min(found)[0], 1),
            "highest": round(max(found)[0], 1), "ratio": round(middle[way][0] / middle["folder"][0], 2),
            "of_one_core": round(middle[way][1], 1), "core_ratio": round(middle[way][1] / middle["folder"][1], 2),
        }
        for way, found in speeds.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(
        images=packed["images"],
        folder_bytes=written,
        shard_bytes=packed["bytes"],
        batch_size=batch_size,
        workers=workers,
        processor=f"{machine.processor_model()}, {os.cpu_count()} cores",
    )


def _speed(stream: Iterator[Any], ready: int, seconds: float) -> tuple[float, float]:
    """Reads batches for some time, after those that were ready before.

    Returns images per second, and per second of CPU time, which other load on the machine hardly changes.
    """
    for _ in range(ready):
        next(stream)
    start, core, count = time.perf_counter(), _core_seconds(), 0
    while (passed := time.perf_counter() - start) < seconds:
        count += len(next(stream)[0])
    return count / passed, count / (_core_seconds() - core)


def _core_seconds() -> float:
    """Returns the CPU time of this process and, on Linux, of those that it has started and that run."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _write(dataset: data.Dataset, folder: pathlib.Path) -> tuple[int, list[str]]:
    """Writes a data set as PNG files of images and class ids, which all ways read; returns their bytes and classes."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    names = []
    for index in range(len(dataset)):
        image, label = dataset.read(index)
        names.append(f"{index:06}")
        Image.fromarray(np.asarray(image)).save(folder / "images" / f"{names[-1]}.png")
        Image.fromarray(np.asarray(label).astype("uint8")).save(folder / "masks" / f"{names[-1]}.png")
    (folder / "train.txt").write_text("\n".join(names))
    return sum(path.stat().st_size for path in folder.rglob("*.png")), list(dataset.classes)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "data": rows["data"] + " " + rows["crop"],
            "way": rows["way"],
            "images/s": [f"{value:.0f}" for value in rows["images_per_second"]],
            "to the folder": [f"{value:.2f}" for value in rows["ratio"]],
            "images/s of one core": [f"{value:.0f}" for value in rows["of_one_core"]],
            "kB per image": [
                f"{total / images / 1000:.0f}"
                for total, images in zip(
                    rows["shard_bytes"].where(rows["way"].str.contains("shards"), rows["folder_bytes"]),
                    rows["images"],
                    strict=True,
                )
            ],
            "processor": rows["processor"],
        }
    )
