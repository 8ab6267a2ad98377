"""A rehearsal of a suite: a few steps of every model, a look at a test image, nothing recorded."""

import gc
import time
import traceback

import keras
import numpy as np

from benchmarks import leaderboard
from benchmarks.subset import Subset
from benchmarks.suite import Suite
from kseg.training import Recipe, Reporter, dataset, evaluate, rehearse


def run(suite: Suite, steps: int, *, data_root: str | None = None, reporter: Reporter | None = None) -> list[str]:
    """Rehearses every model of a suite; one that fails does not stop the others.

    Args:
        suite: The suite.
        steps: Steps a model.
        data_root: As in `kseg.training.train`.
        reporter: Where it is told how each model went.

    Returns:
        The names of those that failed.
    """
    reporter = reporter or Reporter()
    failed = []
    for name, recipe in suite.recipes.items():
        try:
            reporter.line(f"{name}: {_once(suite, recipe, steps, data_root)}")
        except Exception as error:  # whatever it is, the models after it are to be tried too
            failed.append(name)
            reporter.line(f"{name}: FAILED, {type(error).__name__}: {error}")
            reporter.line(traceback.format_exc(limit=-3))
        keras.utils.clear_session()
        gc.collect()
    return failed


def _once(suite: Suite, recipe: Recipe, steps: int, data_root: str | None) -> str:
    model, result = rehearse(recipe, steps, data_root=data_root)
    start = time.perf_counter()
    whole = dataset(recipe, "test", data_root)
    test = Subset(whole, every=len(whole))  # one image
    scores = evaluate(model, test, batch_size=recipe.data.batch_size)
    assert np.isfinite(result["loss"]), f"the loss is {result['loss']}"
    if suite.test_time:
        leaderboard.test_time_miou(model, test, **suite.test_time)
    cost = leaderboard.cost(model, test.size(0))
    speed, memory = result["images_per_second"], leaderboard.megabytes(result["peak_memory"])
    told = [
        f"loss {result['loss']:.3f}",
        f"{result['seconds']:.1f} s for {steps} steps",
        f"{time.perf_counter() - start:.1f} s for the tests of an image of {scores['images']}",
        "speed unknown" if speed is None else f"{speed:.1f} images/s",
        "memory unknown" if memory is None else f"{memory} MB",
        "no multiply-adds" if cost is None else f"{cost / 1e9:.1f} G multiply-adds",
    ]
    return ", ".join(told)
