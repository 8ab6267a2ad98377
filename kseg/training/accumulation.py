"""Gradient accumulation that gives the gradient of the whole batch, although its parts have other numbers of pixels."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops

from kseg import replicas
from kseg.losses import SegmentationLoss


class PartLoss(SegmentationLoss):
    """A loss for one of the parts of a batch, whose mean over the parts is the loss of the batch.

    A loss divides by the labeled pixels of what it sees. So each part is weighted by its share of the batch. This is
    exact for losses that are a sum over pixels divided by the sum of their class weights; in a weighted sum of losses,
    the weights of the first one count. Losses of regions (Dice, Lovasz, ...), OHEM's choice of pixels and the weights
    of borders see one part at a time.

    Args:
        whole: The loss.
        parts: The number of parts.
        weights: One weight per label value, 0 to 255, as the loss counts pixels: 0 for void.
    """

    def __init__(self, whole: SegmentationLoss, parts: int, weights: np.ndarray):
        super().__init__(whole.compute, whole.name, from_logits=whole.from_logits)
        self.whole, self.parts, self.weights = whole, parts, weights

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The loss of a part times its share of the batch; `sample_weight` is as `in_parts` gives it."""
        loss = self.whole.compute(y_true, y_pred, None)
        if sample_weight is None:  # in a validation
            return loss
        pixels = replicas.total(ops.sum(ops.take(ops.convert_to_tensor(self.weights), ops.cast(y_true, "int32"))))
        batch = replicas.total(ops.sum(sample_weight))
        return loss * self.parts * pixels / ops.where(batch == 0, 1.0, batch)


def loss_of_parts(loss: SegmentationLoss, parts: int) -> SegmentationLoss:
    """Returns the loss to train with if batches come in parts."""
    return loss if parts == 1 else PartLoss(loss, parts, _pixel_weights(loss))


def _pixel_weights(loss: SegmentationLoss) -> np.ndarray:
    """Returns the weight of each label value, 0 to 255, in the sum by which a loss divides."""
    terms = getattr(loss, "terms", [loss])
    options = terms[0].options
    weights = np.ones(256, "float32")
    if (given := options.get("class_weights")) is not None and options.get("normalizer", "weights") == "weights":
        weights[: len(given)] = given
    if (void := options.get("ignore_class")) is not None:
        weights[void] = 0
    return weights


def in_parts(batches: Iterable, parts: int, loss: SegmentationLoss) -> Iterable:
    """Returns batches `(images, labels)` in parts for `loss_of_parts`; with one part, as they are.

    Each part has as sample weights, for each image, the weighted pixels of its whole batch by its number of images.
    """
    return batches if parts == 1 else _parts_of(batches, parts, _pixel_weights(loss))


def _parts_of(batches: Iterable, parts: int, weights: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for images, labels in batches:
        share = np.float32(weights[labels].sum() / (len(images) // parts))
        for some, theirs in zip(np.split(images, parts), np.split(labels, parts), strict=True):
            yield some, theirs, np.full(len(some), share)
