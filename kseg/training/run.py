"""One run: its parts, its epochs, and the order of writing that survives a kill at any moment."""

import contextlib
import functools
import json
import math
import os
import statistics
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from kseg import pretrained, visualize
from kseg.inference import is_out_of_memory
from kseg.progress import Reporter
from kseg.training import accumulation, checkpoint, preparation, process, splits
from kseg.training.distribution import Alone, synchronize
from kseg.training.epochs import Epochs
from kseg.training.folder import BEST, CHECKPOINT, RESULT, RunFolder, versions
from kseg.training.optimizer import averaged
from kseg.training.recipe import Recipe
from kseg.training.tracking import trackers
from kseg.training.validation import Validation

SAMPLES = 4
"""Images in `predictions.png`."""
CHECKPOINT_SECONDS = 30.0
"""Seconds after which an epoch without validation writes a checkpoint, which can take longer than a short epoch."""


class Run:
    """The parts of a run and its progress."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        data_root: str | os.PathLike | None,
        reporter: Reporter,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        group: Alone | None = None,
    ):
        self.group = group or Alone()
        self.recipe, self.folder, self.reporter, self.callbacks = recipe, folder, reporter, list(callbacks)
        self.memory = process.PeakMemory()  # first, to include everything that is built here
        self.train_split, self.val_split = splits.open_splits(recipe, data_root)
        splits.check(self.train_split, "train")
        if self.val_split is not None:
            splits.check(self.val_split, "val")
        splits.augmentation(recipe, self.train_split)  # errors come before the model is built
        contents = splits.contents(self.train_split, self.val_split)
        self.group.agree(recipe.hash(), "the recipe")
        self.group.agree(json.dumps(contents), "the data")
        folder.check_data(contents)
        self.resumes = (folder.path / CHECKPOINT).is_file()
        stated = getattr(self.train_split, "pixels", None)
        self.pixels: dict[str, Any] = {} if stated is None else stated.to_json()
        arguments = preparation.arguments(recipe, self.train_split)
        self.steps = splits.steps_per_epoch(recipe, self.train_split)
        self.schedule = preparation.schedule(recipe, self.steps)
        with self.group.scope():
            self.model = preparation.model(recipe, arguments, resumes=self.resumes)
            if self.group.processes * self.group.devices > 1:
                synchronize(self.model)
            self.loss = preparation.loss(recipe, self.train_split, self.model)
            loss = accumulation.loss_of_parts(self.loss, recipe.optimizer.accumulate)
            self.model.compile(optimizer=preparation.optimizer(recipe, self.model, self.schedule), loss=loss)
        # After the model, whose random initial weights are to be those of a run on one device.
        twin = preparation.model(recipe, arguments, resumes=True) if self.group.needs_twin else None
        self.validation = Validation(
            self.group, self.model, twin, loss=self.loss, batch_size=recipe.data.batch_size, reporter=reporter
        )
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "scores": {}}
        self.tracked = False  # whether trackers want pictures
        self.drawn: tuple[int, np.ndarray | None] = (-1, None)
        self.seconds = 0.0
        self.closed = True  # whether the last epoch was validated, if it has to be
        self.saved, self.stored = time.perf_counter(), (0, True)  # when, and after which epoch
        self.beginning: float | None = None

    def train(self, start: float, until: float) -> dict[str, Any]:
        """Trains until the last epoch, or the last one that ends before `until` (times of `time.perf_counter`)."""
        self.start, self.until = start, until
        with self.group.scope():
            self._resume()
            if len(self.rows) < self.recipe.epochs:
                self._fit()
        return self._finish() if len(self.rows) == self.recipe.epochs else self._result(finished=False)

    def _fit(self) -> None:
        first, epochs = len(self.rows), self.recipe.epochs
        begin = functools.partial(process.seed_epoch, self.recipe.seed, process=self.group.process)
        parts = self.recipe.optimizer.accumulate
        callback = Epochs(epochs, self.steps * parts, self.reporter, begin=begin, end=self._end_epoch)
        last = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self._keep_stopped())
        compiles, count = keras.backend.backend() != "torch", len(self.train_split)
        self.reporter.line(
            f"{count} image{'s' * (count != 1)} for training, {len(self.val_split or ())} for validation, "
            f"{self.steps} step{'s' * (self.steps != 1)} per epoch"
            + ("; the first step compiles the model" if compiles else "")
        )
        try:
            with callback.bar, self._trackers() as tracked:
                self.tracked = bool(tracked)
                self.model.fit(
                    self.batches(first * self.steps),
                    initial_epoch=first,
                    epochs=epochs,
                    steps_per_epoch=self.steps * parts,
                    callbacks=[callback, *tracked, *self.callbacks, last],
                    shuffle=False,  # the loader shuffles
                    verbose=0,
                )
        except Exception as error:  # backends have error types of their own
            if self.train_split.fault:  # an unreadable file, hidden under the errors of the backend
                raise self.train_split.fault from None
            if is_out_of_memory(error) and not isinstance(error, MemoryError):  # not one with a text of its own
                section = self.recipe.data
                crop = "give a crop" if section.crop is None else f"lower crop = {list(section.crop)}"
                raise MemoryError(
                    f"memory ran out in training: lower batch_size = {section.batch_size} or {crop} in [data]"
                ) from error
            raise

    def batches(self, start_step: int) -> Iterable:
        """Returns the endless stream of this process's share of the batches, in parts if gradients are accumulated."""
        shard = self.group.process, self.group.processes
        whole = splits.batches(self.recipe, self.train_split, start_step, shard)
        return accumulation.in_parts(whole, self.recipe.optimizer.accumulate, self.loss)

    def _trackers(self) -> contextlib.AbstractContextManager[list[keras.callbacks.Callback]]:
        if self.group.process:
            return contextlib.nullcontext([])
        drawn = lambda epoch: self.drawn[1] if self.drawn[0] == epoch else None  # noqa: E731
        return trackers(self.recipe, self.folder.path, drawn)

    def _resume(self) -> None:
        self.folder.best_epoch()  # refuses a file of another run before anything is trained
        if not self.resumes:
            return
        state = checkpoint.restore(self.model, self.folder.path / CHECKPOINT)
        self.rows, self.best, self.seconds = state["rows"], state["best"], state["seconds"]
        self.closed = state["closed"]
        self.stored = len(self.rows), self.closed
        self.reporter.line(f"resuming {self.folder.path} after epoch {len(self.rows)} of {self.recipe.epochs}")
        if changed := self.folder.other_versions():
            self.reporter.line(f"warning: versions have changed since the first start ({changed}); results may differ")
        if not self.closed:
            self._close_epoch()
        kept = self.best["epoch"]
        if kept and self.folder.best_epoch() != kept:
            if kept < len(self.rows):
                raise ValueError(
                    f"{self.folder.path / BEST} with the weights of epoch {kept} is gone: put it back, "
                    f"or delete {CHECKPOINT} (and {RESULT}) to train from the start"
                )
            with averaged(self.model):
                self.save(BEST)

    def _end_epoch(self, epoch: int, logs: dict[str, Any], seconds: float) -> bool:
        """Records an epoch and, after a checkpoint, validates if it is time to.

        Returns:
            Whether the next epoch would end too late.
        """
        start = time.perf_counter()
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}: lower the learning rate, or lengthen the warm-up"
            )
        row: dict[str, Any] = {"epoch": epoch + 1, "step": (epoch + 1) * self.steps, "loss": logs["loss"]}
        row["learning_rate"] = float(self.schedule(row["step"] * self.recipe.optimizer.accumulate))
        row["images_per_second"] = round(self.steps * self.recipe.data.batch_size / seconds, 1)
        row["seconds"] = round(seconds, 3)
        self.rows.append(row)
        self.seconds += row["seconds"]
        every = self.recipe.selection.every
        self.closed = epoch + 1 < self.recipe.epochs and (every == 0 or (epoch + 1) % every > 0)
        if not self.closed or start - self.saved > CHECKPOINT_SECONDS:
            self._checkpoint()
        logs |= {"learning_rate": row["learning_rate"], **self._close_epoch()}
        now = time.perf_counter()
        self.beginning = self.beginning or now - self.start
        lately = [row["seconds"] for row in self.rows[-max(1, every) :]]  # one of them validated
        late = now + max(now - start + seconds, *lately) > self.until
        return bool(self.group.gather(np.array(late))[0])  # all processes stop together

    def _keep_stopped(self) -> None:
        """Writes a checkpoint if training stops before the last epoch and none holds the present state."""
        # A callback may have stopped it in one process.
        self.model.stop_training = bool(self.group.total(np.array(int(self.model.stop_training))))
        reached = len(self.rows), self.closed
        if self.model.stop_training and len(self.rows) < self.recipe.epochs and self.stored != reached:
            self._checkpoint()

    def _close_epoch(self) -> dict[str, float]:
        """Validates the last epoch if it is time to; can be repeated from the checkpoint if killed at any point.

        Returns:
            The scores, for Keras's logs.
        """
        start, selection = time.perf_counter(), self.recipe.selection
        row, kept, means = self.rows[-1], False, {}
        if not self.closed:
            with averaged(self.model):
                scores: dict[str, Any] = {}
                if self.val_split is not None:
                    scores = self.validation.scores(self.val_split)
                    if self.tracked and (count := self.recipe.tracking.images):
                        self.drawn = len(self.rows) - 1, self.validation.picture(self.val_split, count)
                first = self.best["epoch"] == 0 or not selection.every
                better = first or scores[selection.metric] > self.best["scores"][selection.metric]
                # If the file holds this epoch already, the process was killed right after writing it.
                kept = better or self.folder.best_epoch() == row["epoch"]
                if kept:
                    self.best = {"epoch": row["epoch"], "scores": scores}
                    self.save(BEST)
            means = {
                f"val_{name}": value for name, value in scores.items() if isinstance(value, float) and name != "seconds"
            }
            seconds = time.perf_counter() - start
            self.seconds += seconds
            row |= {
                **means,
                **{f"val_iou_{name}": value for name, value in scores.get("iou", {}).items()},
                "images_per_second": row.pop("images_per_second"),
                "seconds": round(row.pop("seconds") + seconds, 3),
            }
            self.closed = True
        self.folder.write_table("log.csv", self.rows)
        shown = [f"epoch {row['epoch']}/{self.recipe.epochs}", f"loss {row['loss']:.4f}"]
        if "val_loss" in row:
            shown.append(f"val loss {row['val_loss']:.4f}")
        if "val_miou" in row:
            shown.append(f"val miou {row['val_miou']:.4f}")
        shown.append(f"{row['seconds']:.1f} s")
        self.reporter.line("  ".join(shown + ["best"] * (kept and selection.every > 0)))
        return means

    def _checkpoint(self) -> None:
        """Writes the checkpoint and the log, and adds the time that it takes to that of the training."""
        start = time.perf_counter()
        state = {"rows": self.rows, "best": self.best, "seconds": self.seconds, "closed": self.closed}
        checkpoint.save(self.model, self.folder.path / CHECKPOINT, state)
        self.folder.write_table("log.csv", self.rows)
        self.saved, self.stored = time.perf_counter(), (len(self.rows), self.closed)
        self.seconds += self.saved - start

    def save(self, name: str) -> str:
        """Writes the weights into the folder, for `kseg.zoo.load`, and returns the path."""
        path = pretrained.save(
            self.model,
            self.folder.path / name,
            classes=self.train_split.classes,
            palette=self.train_split.palette,
            pixels=self.pixels,
            dataset=self.train_split.name,
            recipe=self.recipe.hash(),
            epoch=self.best["epoch"],
            scores=self.best["scores"],
        )
        return os.fspath(path)

    def _finish(self) -> dict[str, Any]:
        with self.group.scope():
            pretrained.load(self.model, self.folder.path / BEST)
        self.folder.write_table("log.csv", self.rows)  # again, since a kill may have prevented the last row
        if matrix := self.best["scores"].get("confusion_matrix"):
            classes = self.train_split.classes
            columns = ("true \\ predicted", *classes)
            rows = [(name, *row) for name, row in zip(classes, matrix, strict=True)]
            self.folder.write_table("confusion.csv", [dict(zip(columns, row, strict=True)) for row in rows])
            self.folder.write_picture("confusion.png", visualize.confusion_picture(np.array(matrix), classes))
        self.folder.write_picture("curves.png", visualize.curves({self.folder.path.resolve().name: self.rows}))
        picture = self.validation.picture(self.val_split or self.train_split, SAMPLES)
        self.folder.write_picture("predictions.png", picture)
        result = self._result(finished=True)
        self.folder.write(RESULT, json.dumps(result, indent=2))
        self.reporter.line(f"finished: {self.folder.path / BEST} holds epoch {self.best['epoch']}")
        return result

    def _result(self, *, finished: bool) -> dict[str, Any]:
        return {
            "finished": finished,
            "epochs": len(self.rows),
            "epoch": self.best["epoch"],
            "scores": self.best["scores"],
            "parameters": self.model.count_params(),
            "seconds": round(self.seconds, 3),
            "beginning": self.beginning,
            "images_per_second": statistics.median(row["images_per_second"] for row in self.rows),
            "peak_memory": self.memory.bytes(),
            "recipe": self.recipe.hash(),
            "weights": BEST,
            **versions(),
        }
