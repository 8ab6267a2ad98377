"""Time kseg beside other libraries, in turn in one run: inference, training, whole programs, memory."""

import contextlib
import importlib
import importlib.metadata
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer
from PIL import Image

from benchmarks import machine
from benchmarks.experiments import _charts
from benchmarks.experiments._ways import JOBS, NETS, PRODUCT, PROGRAMS, STEPS, WAYS, Case, Way
from benchmarks.process import ChildError, Worker
from kseg import data
from kseg.cli._process import prepare as prepare_process
from kseg.progress import Reporter
from kseg.training import PeakMemory, process_peak

KEY = ["processor", "threads", "device", "part", "net", "size", "batch", "way"]
PACKAGES = (
    "kseg", "keras", "tensorflow", "jax", "torch", "openvino", "onnxruntime", "segmentation-models-pytorch",
    "torchvision", "keras-hub", "torchmetrics", "albumentations", "numpy",
)  # fmt: skip
SUMMARY = (
    ("training", "unet", 8, "U-Net, a training step of 8 images"),
    ("training", "deeplabv3plus", 8, "DeepLabV3+, a training step of 8 images"),
    ("inference", "unet", 1, "U-Net, one image"),
    ("inference", "unet", 8, "U-Net, 8 images"),
    ("inference", "deeplabv3plus", 1, "DeepLabV3+, one image"),
)
"""Part, net and batch of the lines of `summary`, and what they are called."""
SHARED = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Environment variables with which processes share a GPU."""


_run: Callable[[], Any]
"""What this process times; `prepare` sets it."""


def prepare(way: Way, case: Case) -> dict[str, Any]:
    """Builds the job of a way in this process and runs it, since the first runs compile; returns what is known of it.

    On a GPU, networks compute in bfloat16. Memory is the increase of the peak of this process, without processes of a
    data loader, or of the GPU. That of a program is unknown: Linux counts that of the process that starts it.
    """
    global _run
    jobs, device, precision = importlib.import_module(way.module).JOBS, machine.device(), "float32"
    if not device.startswith("CPU"):
        keras.config.set_dtype_policy(precision := "mixed_bfloat16")
    elif "int8" in way.style:
        precision = "int8"
    memory = PeakMemory()
    before = 0 if memory.gpu is not None else process_peak()
    _run, cost = jobs[case.part](way, case)
    for _ in range(2 if case.part in STEPS else 1):
        _run()
    peak = None if case.part in PROGRAMS else memory.bytes()
    used = None if peak is None or before is None else round((peak - before) / 2**20)
    return {"multiply_adds": cost, "memory_mb": used, "precision": precision, "device": device}


def _cpu_seconds() -> float:
    return time.process_time() + sum(os.times()[2:4])  # of this process, and of those that it has waited for


def once(seconds: float) -> tuple[float, float]:
    """Runs the job at least once and for a number of seconds; returns seconds and CPU seconds of one run."""
    count, start, core = 0, time.perf_counter(), _cpu_seconds()
    while not count or time.perf_counter() - start < seconds:
        _run()
        count += 1
    return (time.perf_counter() - start) / count, (_cpu_seconds() - core) / count


def compare(case: Case, ways: list[Way], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measures one case: a process for each way, which run in turn. A way that does not work is left out, with a line.

    Args:
        case: What to do.
        ways: The ways to do it.
        rounds: How often each way is timed.
        seconds: How long each way runs in each round, at least.

    Returns:
        One row per way: medians of `seconds` and `cpu_seconds` of one run; `ratio`, the median over the rounds of the
        ratio to the fastest peer; `gmacs`, 1e9 multiply-adds per second, and `peak_gmacs`, those of `PRODUCT`.
    """
    say, title = Reporter().line, f"{case.part}, {case.net}, {case.batch} of {'x'.join(map(str, case.size))}"
    facts: dict[Way, dict[str, Any]] = {}
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    prepare_process(training=case.part in ("training", "epoch"))
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(Worker(KERAS_BACKEND=way.backend, **SHARED)) for way in ways}
        for way, worker in workers.items():
            try:
                facts[way] = worker(prepare, way, case)
            except ChildError as error:
                say(f"{title}: {way.name} is left out: {str(error).splitlines()[0]}")
        times: dict[Way, list[tuple[float, float]]] = {way: [] for way in facts}
        for way in rounds * [*facts]:
            try:
                if way in times:
                    times[way].append(workers[way](once, seconds))
            except ChildError as error:
                say(f"{title}: {way.name} is left out: {str(error).splitlines()[0]}")
                del times[way], facts[way]
    if not facts:
        return []
    wall, core = ({way: np.array(times[way])[:, place] for way in facts} for place in (0, 1))
    gmacs = {way: (facts[way].pop("multiply_adds") or np.nan) / 1e9 / np.median(wall[way]) for way in facts}
    peak = gmacs.pop(PRODUCT, np.nan)
    peers = [way for way in gmacs if not way.is_kseg]
    fastest = wall[min(peers, key=lambda way: np.median(wall[way]))] if peers else np.nan
    rows = []
    for way, speed in gmacs.items():
        row = {"part": case.part, "net": case.net, "size": title.split()[-1], "batch": case.images or case.batch}
        row |= {"way": way.name, "seconds": float(f"{np.median(wall[way]):.4g}")}
        row |= {"cpu_seconds": float(f"{np.median(core[way]):.4g}"), "ratio": round(np.median(wall[way] / fastest), 3)}
        row |= {"gmacs": round(speed, 1), "peak_gmacs": round(peak, 1), "rounds": rounds}
        rows.append(row | facts[way])
        say(f"{title}: {way.name} {row['seconds']} s, ratio {row['ratio']}")
    return rows


def _draw(folder: str, size: tuple[int, int], count: int) -> None:
    streets = data.streets("train", count=count, size=size)
    for place, name in enumerate(("images", "masks")):
        pathlib.Path(folder, name).mkdir()
        for index in range(count):
            Image.fromarray(streets[index][place]).save(pathlib.Path(folder, name, f"{index:04}.png"))


def measure(
    *,
    only: Annotated[list[str] | None, typer.Option(help=f"Only this part: {', '.join(JOBS)}; may be repeated.")] = None,
    way: Annotated[list[str] | None, typer.Option(help="Only ways with this in their name; may be repeated.")] = None,
    net: Annotated[list[str] | None, typer.Option(help=f"Only this net: {', '.join(NETS)}; may be repeated.")] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of images to label.")] = (384, 480),
    crop: Annotated[tuple[int, int], typer.Option(help="Height and width of images to train on.")] = (256, 320),
    batch: Annotated[int, typer.Option(min=1, help="Images of a training step and of the larger prediction.")] = 8,
    largest: Annotated[int, typer.Option(min=256, help="Largest side of the part growth, from 256.")] = 2048,
    images: Annotated[int, typer.Option(min=1, help="Images of an epoch and of the folder to label.")] = 96,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is timed.")] = 7,
    seconds: Annotated[float, typer.Option(help="How long each way runs in a round, at least.")] = 0.5,
) -> pd.DataFrame:
    """Time kseg on each backend and engine beside other libraries: the same net, size, batch and cores, in turn.

    All ways use all cores that this process may use: on Linux, `taskset -c 0,1` limits them.
    """
    if unknown := ({*(only or [])} - JOBS.keys()) | ({*(net or [])} - NETS.keys()):
        raise ValueError(f"unknown: {', '.join(unknown)}; --only takes {', '.join(JOBS)}, --net {', '.join(NETS)}")
    sides = [256 << doublings for doublings in range((largest // 256).bit_length())]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files: Any = {"images": max(images, batch), "folder": folder}
        cases = [
            *(Case("inference", name, size, count) for name in NETS for count in dict.fromkeys((1, batch))),
            *(Case("training", name, crop, batch) for name in NETS),
            Case("epoch", "unet", crop, batch, **files),
            Case("predict", "unet", size, **files),
            *(Case(part) for part in ("import", "build", "help")),
            *(Case("growth", "unet", (side, side)) for side in sides),
            *(Case("growth", "unet", (256, 256), count) for count in (2, 4, 8)),
            Case("scores", size=size, batch=batch),
        ]
        cases = [case for case in cases if case.part in (only or JOBS) and case.net in (net or NETS)]
        if any(case.folder for case in cases):
            _draw(folder, size, files["images"])
        for case in cases:
            able = [each for each in WAYS if case.part in each.parts and case.net in each.nets]
            wanted = [each for each in able if each == PRODUCT or any(text in each.name for text in way or [""])]
            rows += compare(case, wanted, rounds, seconds)
    if not rows:
        raise ValueError("nothing was measured: none of these ways does these parts with these nets here")
    found = [distribution for distribution in PACKAGES if list(importlib.metadata.distributions(name=distribution))]
    versions = " ".join(f"{package}={importlib.metadata.version(package)}" for package in found)
    threads = machine.usable_cores()
    return pd.DataFrame(rows).assign(processor=machine.processor_model(), threads=threads, versions=versions)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for docs/measurements.md: a line per case, its fastest peer, kseg's ratios to it.

    Growth is in a chart.
    """
    lines: list[dict[str, Any]] = []
    cases = rows[rows["part"] != "growth"].groupby(KEY[:-1], sort=False)
    for (processor, threads, device, part, net, size, batch), case in cases:
        ours = case["way"].str.startswith("kseg")
        program = part in (*PROGRAMS[1:], "scores")
        peers = [f"{row['way']}: {_cost(row)}" for row in case[~ours].sort_values("seconds").to_dict("records")]
        lines.append({"what": part if program else f"{part}, {batch} of {size}", "net": "" if program else net})
        lines[-1]["fastest peer"] = "".join(peers[:1])
        for row in case[ours].to_dict("records"):
            lines[-1][row["way"]] = _cost(row) if pd.isna(row["ratio"]) else f"{row['ratio']:.2f} ({_cost(row)})"
        lines[-1]["device"] = f"{processor}, {threads} threads; {device}"
    table = pd.DataFrame(lines).fillna("")
    return table[[*table.columns.drop("device"), "device"]]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `SUMMARY` for README.md: the fastest way of kseg in float32 beside the fastest peer."""
    lines = []
    for part, net, batch, title in SUMMARY:
        case = rows[(rows["part"] == part) & (rows["net"] == net) & (rows["batch"] == batch)]
        case = case[case["precision"] == "float32"].sort_values("seconds")
        ours = case["way"].str.startswith("kseg")
        kseg, peer = case[ours].iloc[0], case[~ours].iloc[0]
        line = {
            "work": f"{title}, {kseg['size']}",
            "kseg": f"{kseg['way'].removeprefix('kseg ')}: {kseg['seconds']:.3g} s",
        }
        line |= {"fastest other library": f"{peer['way']}: {peer['seconds']:.3g} s", "ratio": f"{kseg['ratio']:.2f}"}
        lines.append(line | {"processor": f"{kseg['processor']}, {kseg['threads']} threads"})
    return pd.DataFrame(lines)


def charts(rows: pd.DataFrame) -> dict[str, str]:
    """Draws the rows of `measure` as SVG, by title."""
    grown = {"growth": _charts.growth(rows)} if (rows["part"] == "growth").any() else {}
    return {"ratios": _charts.ratios(rows)} | grown


def _cost(row: Any) -> str:
    memory = "" if pd.isna(row["memory_mb"]) else f", {row['memory_mb']:.0f} MB"
    return f"{row['seconds']:.3g} s{memory}"
