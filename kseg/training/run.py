"""`train`: one run from a recipe to a folder, resumable at any epoch."""

import importlib.util
import json
import math
import os
import pathlib
import statistics
import time
from typing import Any

import keras
import numpy as np

from kseg import pretrained, visualize
from kseg.progress import Reporter
from kseg.training import chance, checkpoint, preparation
from kseg.training.epochs import Epochs
from kseg.training.evaluation import evaluate
from kseg.training.folder import BEST, CANDIDATE, CHECKPOINT, RunFolder, versions
from kseg.training.memory import PeakMemory
from kseg.training.optimizer import averaged
from kseg.training.recipe import Recipe
from kseg.training.samples import sample_picture

SAMPLES = 4
"""Images in `predictions.png`."""
CHECKPOINT_SECONDS = 30.0
"""A kill loses no more training than this, and the epoch it falls into."""


def train(
    recipe: Recipe,
    run_folder: str | os.PathLike,
    *,
    data_root: str | os.PathLike | None = None,
    progress: bool = True,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Trains a model, or goes on where a run in that folder stopped; a finished run is returned as it is.

    At the end of an epoch `checkpoint.safetensors` gets every variable (weights, random seeds, optimizer, averaged
    weights), unless it did in the last 30 seconds and no weights are kept. The run can be killed at any moment: started
    again, it reaches the weights that an unbroken run reaches, bit for bit if the recipe is `deterministic` and the
    number of threads is the same.

    The folder also gets `recipe.json`, `versions.json`, `log.csv` (a row an epoch), `best.safetensors` (the weights,
    for `kseg.zoo.load`), and at the end `confusion.csv`, `curves.png`, `predictions.png` of validation images and
    `result.json`.

    Args:
        recipe: What to do.
        run_folder: Where to do it; made if it is not there.
        data_root: Where data sets of a name lie; None reads the environment variable `KSEG_DATA`. A recipe's `folder`
            is relative to the working directory.
        progress: Whether to show how far it has come.
        minutes: Stop after the last epoch that fits into so many minutes, setting up included, but do one at least;
            the same call goes on later.

    Returns:
        `finished`, `epochs` (done), `epoch` (whose weights are kept, from 1), `scores` (on the validation split, as
        `evaluate` returns them), `parameters`, `seconds`, `beginning` (seconds to this call's first
        epoch), `images_per_second` (while training, the median epoch),
        `peak_memory` (bytes, see `PeakMemory`; None where it cannot be told), `recipe` (its hash), `weights` and the
        versions.

    Raises:
        FileNotFoundError: The data or the weights are not there.
        ValueError: The recipe contradicts itself, the data or the run in the folder; or the loss is no number any more.
        OSError: The folder cannot be written; the last checkpoint stays.
    """
    start = time.perf_counter()
    folder = RunFolder(run_folder, recipe)
    if (result := folder.result()) is not None:
        return result
    reporter = Reporter(quiet=not progress)
    with chance.settings(recipe):
        return Run(recipe, folder, data_root, reporter).train(
            start, math.inf if minutes is None else start + 60 * minutes
        )


class Run:
    """A run's parts and how far it has come."""

    def __init__(self, recipe: Recipe, folder: RunFolder, data_root: str | os.PathLike | None, reporter: Reporter):
        self.recipe = recipe
        self.folder = folder
        self.reporter = reporter
        self.memory = PeakMemory()  # first: what is built here counts
        self.train_split, self.val_split = preparation.datasets(recipe, data_root)
        self.arguments = preparation.arguments(recipe, self.train_split)
        self.model = preparation.model(recipe, self.arguments)
        self.steps = preparation.steps_per_epoch(recipe, self.train_split)
        loss = preparation.loss(recipe, self.train_split, self.model)
        self.schedule = preparation.schedule(recipe, self.steps)
        optimizer = preparation.optimizer(recipe, self.model, self.schedule)
        self.model.compile(optimizer=optimizer, loss=loss)
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "scores": {}}
        self.seconds = 0.0
        self.start = self.saved = time.perf_counter()
        self.saved_epochs = 0
        self.beginning: float | None = None

    def train(self, start: float, until: float) -> dict[str, Any]:
        """Goes on from the checkpoint to the last epoch, or to the one that ends before `until`.

        Args:
            start: When all began, of `time.perf_counter`.
            until: When it must end.

        Returns:
            As the function `train`.
        """
        self.start = start
        self._resume()
        if len(self.rows) < self.recipe.epochs:
            first = len(self.rows)
            batches = preparation.batches(self.recipe, self.train_split, first * self.steps)
            try:
                self.model.fit(
                    batches,
                    initial_epoch=first,
                    epochs=self.recipe.epochs,
                    steps_per_epoch=self.steps,
                    callbacks=[Epochs(self, until), *self._tensorboard()],
                    shuffle=False,  # the loader has shuffled
                    verbose=0,
                )
            except Exception:
                if self.train_split.fault:  # a file that cannot be read, buried under the backend's own errors
                    raise self.train_split.fault from None
                raise
        if len(self.rows) < self.recipe.epochs:
            return self._result(finished=False)
        return self._finish()

    def _resume(self) -> None:
        path, candidate = self.folder.path / CHECKPOINT, self.folder.path / CANDIDATE
        if path.is_file():
            state = checkpoint.restore(self.model, path)
            self.rows, self.best, self.seconds = state["rows"], state["best"], state["seconds"]
            self.reporter.line(f"resuming {self.folder.path} after epoch {len(self.rows)} of {self.recipe.epochs}")
        if candidate.is_file():  # killed between the candidate and the checkpoint, or before the renaming
            if pretrained.describe(candidate)["epoch"] == self.best["epoch"]:
                os.replace(candidate, self.folder.path / BEST)
            else:
                candidate.unlink()

    def _tensorboard(self) -> list[keras.callbacks.Callback]:
        wanted = self.recipe.tensorboard
        if wanted is None:
            wanted = keras.backend.backend() == "tensorflow" and importlib.util.find_spec("tensorboard") is not None
        if not wanted:
            return []
        for package in ("tensorflow", "tensorboard"):
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(
                    f"tensorboard = true needs {package}, whatever the backend: pip install tensorflow tensorboard"
                )
        return [keras.callbacks.TensorBoard(self.folder.path / "tensorboard", write_graph=False)]

    def close_epoch(self, epoch: int, logs: dict[str, Any], seconds: float) -> None:
        """Validates if it is due, then writes candidate, checkpoint and log in an order that survives a kill anywhere.

        A checkpoint can take longer than a small epoch: one is written where weights are kept, at the end, and where
        the last one is `CHECKPOINT_SECONDS` old.

        Args:
            epoch: From 0.
            logs: Keras's; the validation scores are added.
            seconds: Training time of the epoch.
        """
        start = time.perf_counter()
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}: lower the learning rate, or lengthen the warm-up"
            )
        selection, last = self.recipe.selection, epoch + 1 == self.recipe.epochs
        row: dict[str, Any] = {"epoch": epoch + 1, "step": (epoch + 1) * self.steps, "loss": logs["loss"]}
        row["learning_rate"] = float(self.schedule(row["step"]))
        kept = False
        if last or (selection.every and (epoch + 1) % selection.every == 0):
            with averaged(self.model):
                scores = self._validate()
                kept = self._is_better(scores) if selection.every else last
                if kept:
                    self.best = {"epoch": epoch + 1, "scores": scores}
                    self.save(CANDIDATE)
            means = {f"val_{name}": scores[name] for name in _means(scores)}
            logs |= means
            row |= means | {f"val_iou_{name}": value for name, value in scores.get("iou", {}).items()}
        row["images_per_second"] = round(self.steps * self.recipe.data.batch_size / seconds, 1)
        row["seconds"] = round(seconds + time.perf_counter() - start, 3)
        self.seconds += row["seconds"]
        self.rows.append(row)
        if kept or last or time.perf_counter() - self.saved > CHECKPOINT_SECONDS:
            self.checkpoint()
        if kept:
            os.replace(self.folder.path / CANDIDATE, self.folder.path / BEST)
        shown = [f"epoch {epoch + 1}/{self.recipe.epochs}", f"loss {row['loss']:.4f}"]
        if "val_miou" in row:
            shown.append(f"val miou {row['val_miou']:.4f}")
        shown.append(f"{row['seconds']:.1f} s")
        self.reporter.line("  ".join(shown + ["best"] * (kept and selection.every > 0)))

    def checkpoint(self) -> None:
        """Writes checkpoint and log; the time that it takes belongs to the training."""
        start = time.perf_counter()
        progress = {"rows": self.rows, "best": self.best, "seconds": self.seconds}
        checkpoint.save(self.model, self.folder.path / CHECKPOINT, progress)
        self.folder.write_table("log.csv", self.rows)
        self.saved, self.saved_epochs = time.perf_counter(), len(self.rows)
        self.seconds += self.saved - start

    def _validate(self) -> dict[str, Any]:
        if self.val_split is None:
            return {}
        return evaluate(self.model, self.val_split, batch_size=self.recipe.data.batch_size, reporter=self.reporter)

    def _is_better(self, scores: dict[str, Any]) -> bool:
        metric = self.recipe.selection.metric
        return self.best["epoch"] == 0 or scores[metric] > self.best["scores"][metric]

    def save(self, name: str) -> pathlib.Path:
        """Writes the weights into the folder, so that `kseg.zoo.load` rebuilds the model."""
        return pretrained.save(
            self.model,
            self.folder.path / name,
            builder=self.recipe.model.builder,
            arguments=self.arguments,
            classes=self.train_split.classes,
            palette=self.train_split.palette,
            dataset=self.train_split.name,
            recipe=self.recipe.hash(),
            epoch=self.best["epoch"],
            scores=self.best["scores"],
        )

    def _finish(self) -> dict[str, Any]:
        pretrained.load(self.model, self.folder.path / BEST)
        self.folder.write_table("log.csv", self.rows)  # again: a kill may have come just before the last row
        matrix = self.best["scores"].get("confusion_matrix", [])
        if matrix:
            classes = self.train_split.classes
            columns = ("true \\ predicted", *classes)
            rows = [(name, *row) for name, row in zip(classes, matrix, strict=True)]
            self.folder.write_table("confusion.csv", [dict(zip(columns, row, strict=True)) for row in rows])
            self.folder.write_picture("confusion.png", visualize.confusion_picture(np.array(matrix), classes))
        self.folder.write_picture("curves.png", visualize.curves({self.folder.path.resolve().name: self.rows}))
        split = self.val_split or self.train_split
        picture = sample_picture({"prediction": self.model}, split, np.linspace(0, len(split) - 1, SAMPLES))
        self.folder.write_picture("predictions.png", picture)
        result = self._result(finished=True)
        self.folder.write("result.json", json.dumps(result, indent=2))
        self.reporter.line(f"finished: {self.folder.path / BEST} holds epoch {self.best['epoch']}")
        return result

    def _result(self, *, finished: bool) -> dict[str, Any]:
        speeds = [row["images_per_second"] for row in self.rows if "images_per_second" in row]  # older runs lack it
        return {
            "finished": finished,
            "epochs": len(self.rows),
            "epoch": self.best["epoch"],
            "scores": self.best["scores"],
            "parameters": self.model.count_params(),
            "seconds": round(self.seconds, 3),
            "beginning": self.beginning,
            "images_per_second": statistics.median(speeds) if speeds else None,
            "peak_memory": self.memory.bytes(),
            "recipe": self.recipe.hash(),
            "weights": BEST,
            **versions(),
        }


def _means(scores: dict[str, Any]) -> list[str]:
    return [name for name, value in scores.items() if isinstance(value, float) and name != "seconds"]
