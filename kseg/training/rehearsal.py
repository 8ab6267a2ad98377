"""A rehearsal: a few steps of a recipe, so that what would break an hour's run breaks now."""

import os
import tempfile
import time
from typing import Any

import keras

from kseg import zoo
from kseg.progress import Reporter
from kseg.training import chance, preparation
from kseg.training.folder import BEST, RunFolder
from kseg.training.optimizer import averaged
from kseg.training.recipe import Recipe
from kseg.training.run import Run


def rehearse(
    recipe: Recipe, steps: int, *, data_root: str | os.PathLike | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Trains for a few steps as `train` would, saves the weights and loads them again; leaves nothing behind.

    Args:
        recipe: The recipe.
        steps: Steps to do; the first one compiles.
        data_root: As in `train`.

    Returns:
        The model, loaded from its weights, and `loss`, `seconds` (all of it), `images_per_second` (after the first
        step; None if there was one alone) and `peak_memory`.

    Raises:
        FileNotFoundError: The data or the weights are not there.
        ValueError: The recipe contradicts itself or the data.

    Example:
        >>> small = {"name": "streets", "options": {"count": 4, "size": [32, 32]}, "batch_size": 2}
        >>> recipe = {"epochs": 9, "data": small, "model": {"builder": "fcn32", "encoder_weights": "none"}}
        >>> model, result = rehearse(Recipe.from_dict(recipe), 2)
        >>> model.name, result["loss"] > 0
        ('fcn32', True)
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, chance.settings(recipe):
        run = Run(recipe, RunFolder(folder, recipe), data_root, Reporter(quiet=True))
        clock = _Clock()
        batches = preparation.batches(recipe, run.train_split, 0)
        history = run.model.fit(batches, steps_per_epoch=steps, epochs=1, callbacks=[clock], shuffle=False, verbose=0)
        with averaged(run.model):
            model = zoo.load(run.save(BEST))
    later = clock.times[-1] - clock.times[0]
    return model, {
        "loss": history.history["loss"][-1],
        "seconds": time.perf_counter() - start,
        "images_per_second": recipe.data.batch_size * (steps - 1) / later if steps > 1 else None,
        "peak_memory": run.memory.bytes(),
    }


class _Clock(keras.callbacks.Callback):
    """When each step ended; reading the loss waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])
        self.times.append(time.perf_counter())
