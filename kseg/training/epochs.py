"""The Keras callback of a run: progress and the end of each epoch."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import keras

from kseg.progress import Reporter


class Epochs(keras.callbacks.Callback):
    """Shows the progress of each epoch and calls two functions.

    `begin` is called before the first step with the index of the epoch, `end` after the last one with the index, the
    logs of Keras and the seconds; training stops if `end` returns True.
    """

    async_safe = True
    """Makes Keras call `on_train_batch_end`, which waits for the step, in a thread, while the next step starts."""

    def __init__(
        self,
        epochs: int,
        steps: int,
        reporter: Reporter,
        *,
        begin: Callable[[int], None],
        end: Callable[[int, dict[str, Any], float], bool],
    ):
        super().__init__()
        self.epochs, self.steps, self.reporter = epochs, steps, reporter
        self.begin, self.end = begin, end
        self.bar = contextlib.ExitStack()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch
        self.start = self.shown = time.perf_counter()
        self.advance = self.bar.enter_context(self.reporter.task(f"epoch {epoch + 1}/{self.epochs}", self.steps))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:  # not in on_epoch_begin: Keras makes the iterator over the data, which also draws, after it
            self.begin(self.epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.advance()
        if (now := time.perf_counter()) > self.shown + 1:
            self.shown = now
            self.advance(0, note=f"loss {float(logs['loss']):.4f}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.bar.close()
        if self.end(epoch, logs, time.perf_counter() - self.start):
            self.model.stop_training = True
