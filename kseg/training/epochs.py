"""What happens between the steps of a run: it is told how far it has come, each epoch is closed, and time is kept."""

import contextlib
import time
from typing import TYPE_CHECKING, Any

import keras

from kseg.training import chance

if TYPE_CHECKING:
    from kseg.training.run import Run


class Epochs(keras.callbacks.Callback):
    """Shows the steps, closes each epoch, and stops when the next one would not fit into the time."""

    async_safe = True
    """Tells Keras to let a thread call `on_train_batch_end`, which waits for the step: the next one is sent before."""

    def __init__(self, run: "Run", until: float):
        super().__init__()
        self.run = run
        self.until = until
        self.bar = contextlib.ExitStack()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch
        self.start = self.shown = time.perf_counter()
        name = f"epoch {epoch + 1}/{self.run.recipe.epochs}"
        self.advance = self.bar.enter_context(self.run.reporter.task(name, self.run.steps))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:  # not at the epoch's begin: the iterator over the data, made after it, draws too
            chance.begin_epoch(self.run.recipe, self.epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.advance()
        if (now := time.perf_counter()) > self.shown + 1:
            self.shown = now
            self.advance(0, note=f"loss {float(logs['loss']):.4f}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.bar.close()
        self.run.close_epoch(epoch, logs, time.perf_counter() - self.start)
        now = time.perf_counter()
        self.run.beginning = self.run.beginning or now - self.run.start
        lately = [row["seconds"] for row in self.run.rows[-max(1, self.run.recipe.selection.every) :]]
        if now + max(now - self.start, *lately) > self.until:  # one of these validated, as the next one may
            self.model.stop_training = True
            if self.run.saved_epochs < len(self.run.rows):
                self.run.checkpoint()
