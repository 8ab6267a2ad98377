"""Compare the cost of labeling one image: sliding window, its convolutional form, full resolution, encoder-decoder."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks.experiments import memory_raised
from benchmarks.process import apart
from kseg import zoo
from kseg.training import process_peak

BATCH = 256
SAMPLE = 16 * BATCH
"""Windows that are timed; the time is extrapolated to all windows of the image."""


def sliding_window(image: np.ndarray) -> tuple[Callable[[], Any], float, int]:
    """Classifies the patch around every pixel, in batches; in a large image only around a sample of the pixels."""
    model = zoo.patch_classifier(11)
    patch = model.input_shape[1]
    height, width, _ = image.shape
    padded = np.pad(image, ((patch // 2, patch // 2), (patch // 2, patch // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (patch, patch), axis=(0, 1))
    count = height * width
    measured = min(count, SAMPLE)

    def label() -> None:
        for start in range(0, measured, BATCH):
            rows, columns = np.divmod(np.arange(start, min(start + BATCH, measured)), width)
            model.predict_on_batch(np.moveaxis(windows[rows, columns], 1, -1))

    return label, count / measured, count * zoo.multiply_adds(model, (patch, patch))


def _whole(model: keras.Model, image: np.ndarray) -> tuple[Callable[[], Any], float, int]:
    return lambda: model.predict_on_batch(image[None]), 1.0, zoo.multiply_adds(model, image.shape[:2])


WAYS: dict[str, Callable[[np.ndarray], tuple[Callable[[], Any], float, int]]] = {
    "sliding window": sliding_window,
    "convolutional": lambda image: _whole(zoo.convolutionalize(zoo.patch_classifier(11), padding="same"), image),
    "full resolution": lambda image: _whole(zoo.full_resolution(11), image),
    "encoder-decoder": lambda image: _whole(zoo.unet(11, encoder_weights=None), image),
}


def measure_way(way: str, size: tuple[int, int]) -> dict[str, Any]:
    """Measures one of `WAYS` in this process; `seconds` is the time of the second run, since the first one compiles.

    `memory_mb` is the increase of the peak memory of the process, None where the system does not report it.
    """
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    label, times, cost = WAYS[way](image)
    before = process_peak()
    label()
    start = time.perf_counter()
    label()
    seconds = (time.perf_counter() - start) * times
    memory = memory_raised(before)
    return {"way": way, "seconds": round(seconds, 3), "multiply_adds": cost, "memory_mb": memory}


def measure(
    *, size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480)
) -> pd.DataFrame:
    """Compare the cost of labeling one image: sliding window, full resolution, encoder-decoder."""
    table = pd.DataFrame([apart(measure_way, way, size) for way in WAYS])
    table["ratio"] = (table.seconds / table.seconds.iloc[-1]).round(2)
    table["size"] = f"{size[0]}x{size[1]}"
    table["backend"] = keras.backend.backend()
    return table


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "way": rows["way"],
            "seconds": [f"{value:.2f}" for value in rows["seconds"]],
            "to the encoder-decoder's": [f"{value:.1f}" for value in rows["ratio"]],
            "multiply-adds": [f"{value / 1e9:,.1f} G" for value in rows["multiply_adds"]],
            "memory": ["" if pd.isna(value) else f"{value:.0f} MB" for value in rows["memory_mb"]],
            "size": rows["size"],
            "backend": rows["backend"],
        }
    )
