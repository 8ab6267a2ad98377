"""The validation of a run: scores of the model on a split, shared among the processes, and pictures."""

from typing import Any

import keras
import numpy as np

from kseg import data, replicas
from kseg.losses import SegmentationLoss
from kseg.progress import Reporter
from kseg.training.distribution import Alone
from kseg.training.evaluation import evaluate, sample_picture


class Validation:
    """Scores the model of a run and draws its predictions.

    Args:
        group: The processes that train together.
        model: The model.
        twin: A second model with the same layers, on one device, if the group needs it.
        loss: The loss of the run.
        batch_size: Largest number of images per batch.
        reporter: Shows the progress.
    """

    def __init__(
        self,
        group: Alone,
        model: keras.Model,
        twin: keras.Model | None,
        *,
        loss: SegmentationLoss,
        batch_size: int,
        reporter: Reporter,
    ):
        self.group, self.model, self.twin = group, model, twin
        self.loss, self.batch_size, self.reporter = loss, batch_size, reporter

    def scores(self, split: data.Dataset) -> dict[str, Any]:
        """Returns the scores on a split, as `evaluate` does; every process has a part of the images."""
        part = split
        if self.group.processes > 1:
            part = data.Subset(split, self.group.processes, self.group.process)
            part.marks_void = True  # a part may have no other labels; the whole split was checked
        with replicas.torch_processes(1):
            return evaluate(
                self.group.local(self.model, self.twin),
                part,
                batch_size=self.batch_size,
                reporter=self.reporter,
                loss=self.loss,
                total=self.group.total,
            )

    def picture(self, split: data.Dataset, count: int) -> np.ndarray:
        """Draws the predictions for `count` images of a split."""
        model = self.group.local(self.model, self.twin)
        with replicas.torch_processes(1):
            return sample_picture({"prediction": model}, split, np.linspace(0, len(split) - 1, count))
