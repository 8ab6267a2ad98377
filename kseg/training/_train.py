"""`train`: a run from a recipe to a folder. `rehearse`: a few steps of it."""

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import keras

from kseg import zoo
from kseg.progress import Reporter
from kseg.training import distribution, process, splits
from kseg.training.folder import BEST, RunFolder
from kseg.training.optimizer import averaged
from kseg.training.recipe import Recipe
from kseg.training.run import Run


def train(
    recipe: Recipe,
    run_folder: str | os.PathLike,
    *,
    data_root: str | os.PathLike | None = None,
    progress: bool = True,
    minutes: float | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Trains a model, or resumes the run in a folder; returns the result of a finished run as it is.

    `checkpoint.safetensors` stores every variable (weights, random seeds, optimizer, averaged weights) before each
    validation, and after any other epoch if the last checkpoint is 30 seconds old. The process can be killed at any
    moment: the same call resumes and reaches the weights of an uninterrupted run, bit for bit if the recipe is
    `deterministic` and the number of threads is the same.

    The folder also contains `recipe.json`, `versions.json`, `data.json` (names and file sizes of the images), `log.csv`
    (one row per epoch), `best.safetensors` (the weights, for `kseg.zoo.load`) and, at the end, `confusion.csv`,
    `curves.png`, `predictions.png` of validation images and `result.json`.

    With a `[distribution]`, every process calls this function with its own number. All of them need the data; process 0
    alone writes into the folder, which the others need not see. Callbacks of your own are called in every process.

    Args:
        recipe: The recipe.
        run_folder: The folder of the run; created if necessary. Only one run may train in it.
        data_root: The folder of named data sets. None reads the environment variable `KSEG_DATA`. The `folder` of a
            recipe is relative to the working directory.
        progress: Whether to show the progress.
        minutes: Stop after the last epoch that fits into this time, set-up included, but train at least one. The same
            call resumes later.
        callbacks: Keras callbacks of your own, after those of the run. At the end of an epoch, the logs contain `loss`,
            `learning_rate` and, if it was validated, `val_loss`, `val_miou` and the other scores. The state of a
            callback is not stored in the folder. One that sets `model.stop_training` ends this call as `minutes` does.

    Returns:
        `finished`, `epochs` (trained), `epoch` (whose weights are kept, from 1), `scores` (on the validation split, as
        returned by `evaluate`), `parameters`, `seconds`, `beginning` (seconds to the end of the first epoch of this
        call), `images_per_second` (the median epoch, while training), `peak_memory` (bytes, see `PeakMemory`; None if
        unknown), `recipe` (its hash), `weights` and the versions.

    Raises:
        FileNotFoundError: If the data or the weights are missing.
        ValueError: If the recipe contradicts itself, the data, or the run in the folder; if the data have changed since
            the first start (not checked for a finished run of a named data set); if another process trains in the
            folder; or if the loss is not finite.
        OSError: If the folder cannot be written. The last checkpoint is kept.
    """
    start = time.perf_counter()
    with distribution.joined(recipe) as group, distribution.folder_of(group, run_folder) as path:
        folder = RunFolder(path, recipe)
        if (result := folder.result()) is not None:
            with contextlib.suppress(FileNotFoundError):  # the result outlives the data
                if recipe.data.name is None:
                    folder.check_data(splits.contents(*splits.open_splits(recipe, data_root)))
            return result
        until = math.inf if minutes is None else start + 60 * minutes
        reporter = Reporter(quiet=not progress or group.process > 0)
        with folder, process.settings(recipe):
            return Run(recipe, folder, data_root, reporter, callbacks, group).train(start, until)


def rehearse(
    recipe: Recipe, steps: int, *, data_root: str | os.PathLike | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Trains for a few steps as `train` would, saves the weights and loads them again; keeps no files.

    Args:
        recipe: The recipe.
        steps: The number of steps. The first one compiles.
        data_root: As in `train`.

    Returns:
        The model, loaded from its weights, and `loss`, `seconds` (in total), `images_per_second` (after the first step;
        None if there is only one) and `peak_memory`.

    Raises:
        FileNotFoundError: If the data or the weights are missing.
        ValueError: If the recipe contradicts itself or the data.

    Example:
        >>> small = {"name": "streets", "options": {"count": 4, "size": [32, 32]}, "batch_size": 2}
        >>> recipe = {"epochs": 9, "data": small, "model": {"builder": "full_resolution"}}
        >>> model, result = rehearse(Recipe.from_dict(recipe), 2)
        >>> model.name, result["loss"] > 0
        ('full_resolution', True)
    """
    start, times = time.perf_counter(), []

    def record(batch: int, logs: dict[str, Any]) -> None:
        float(logs["loss"])  # waits for the step
        times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as path, RunFolder(path, recipe) as folder, process.settings(recipe):
        run = Run(recipe, folder, data_root, Reporter(quiet=True))
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=record)
        parts = recipe.optimizer.accumulate
        history = run.model.fit(
            run.batches(0), steps_per_epoch=steps * parts, epochs=1, callbacks=[clock], shuffle=False, verbose=0
        )
        with averaged(run.model):
            model = zoo.load(run.save(BEST))
    images = recipe.data.batch_size * (steps - 1)  # after the first step
    return model, {
        "loss": history.history["loss"][-1],
        "seconds": time.perf_counter() - start,
        "images_per_second": images / (times[-1] - times[parts - 1]) if images else None,
        "peak_memory": run.memory.bytes(),
    }
