"""Try every model of a suite for a few steps and on one image of the split that it scores on, and record nothing."""

import gc
import time
import traceback

import keras
import numpy as np

from benchmarks import leaderboard
from benchmarks.suite import Suite
from kseg.data import Subset
from kseg.progress import Reporter
from kseg.training import Recipe, dataset, evaluate, rehearse


def try_all(suite: Suite, steps: int, data_root: str | None) -> list[str]:
    """Tries every model and prints how it went; returns the names of those that failed."""
    say = Reporter().line
    failed = []
    for name, recipe in suite.recipes.items():
        try:
            say(f"{name}: {_try(suite, recipe, steps, data_root)}")
        except Exception as error:
            failed.append(name)
            say(f"{name}: FAILED, {type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}")
        keras.utils.clear_session()
        gc.collect()
    return failed


def _try(suite: Suite, recipe: Recipe, steps: int, data_root: str | None) -> str:
    model, result = rehearse(recipe, steps, data_root=data_root)
    start = time.perf_counter()
    whole = dataset(recipe, suite.split, data_root)
    test = Subset(whole, every=len(whole))  # one image
    evaluate(model, test, batch_size=recipe.data.batch_size)
    assert np.isfinite(result["loss"]), f"the loss is {result['loss']}"
    if suite.test_time:
        leaderboard.test_time_miou(model, test, **suite.test_time)
    cost = leaderboard.cost(model, test.size(0))
    speed, memory = result["images_per_second"], leaderboard.megabytes(result["peak_memory"])
    parts = [
        f"loss {result['loss']:.3f}",
        f"{result['seconds']:.1f} s for {steps} steps",
        f"{time.perf_counter() - start:.1f} s for the tests of one image",
        "unknown speed" if speed is None else f"{speed:.1f} images/s",
        "unknown memory" if memory is None else f"{memory} MB",
        "unknown cost" if cost is None else f"{cost / 1e9:.1f} G multiply-adds",
    ]
    return ", ".join(parts)
