"""The Lovasz-Softmax loss, a convex surrogate of the IoU."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kseg import replicas
from kseg.losses.loss import SegmentationLoss, loss_function
from kseg.losses.targets import probabilities, read_class_weights, read_labels, read_sample_weight


@loss_function
def lovasz_softmax(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Lovasz extension of 1 - IoU of each class over the labeled pixels, averaged over the classes present.

    In a binary task only the foreground counts, unless there are `class_weights`, which are the weights of this
    average. All pixels are sorted once per class.

    Args:
        sample_weight: How many pixels each pixel counts for; shapes as in `dice`.

    Reference:
        Berman et al., The Lovasz-Softmax Loss, 2018, https://arxiv.org/abs/1705.08790

    Example:
        >>> import numpy as np
        >>> from kseg.losses import lovasz_softmax
        >>> p, label = np.array([[[[0.0], [1.0], [1.0]]]]), np.array([[[0, 1, 0]]])
        >>> float(lovasz_softmax(label, p, from_logits=False))       # hard predictions: 1 - 1/2
        0.5
    """
    y_pred = ops.cast(y_pred, "float32")
    label, valid, one_hot = read_labels(y_true, y_pred, ignore_class)
    if one_hot:
        label = ops.argmax(label, axis=-1)
        # The NaN of a label outside the classes must stay.
        valid = ops.where(ops.isnan(valid), valid, ops.cast(valid > 0, "float32"))
    predicted = probabilities(y_pred, from_logits)
    weights = read_class_weights(class_weights, y_pred)
    count = ops.reshape(valid * read_sample_weight(sample_weight, valid), (-1,))
    valid, label = ops.reshape(valid, (-1,)), ops.reshape(label, (-1,))
    losses, present = [], []
    first = 1 if y_pred.shape[-1] == 1 and class_weights is None else 0
    for index in range(first, predicted.shape[-1]):
        is_class = ops.cast(label == index, "float32") * valid
        error = ops.abs(is_class - ops.reshape(predicted[..., index], (-1,))) * valid
        order = ops.argsort(ops.stop_gradient(-error))
        losses.append(ops.sum(ops.take(error, order) * _steps(ops.take(is_class, order), ops.take(count, order))))
        present.append(ops.where(ops.sum(count * is_class) == 0, 0.0, 1.0))
    weights = weights[first:] * ops.stack(present)
    total = replicas.total(ops.sum(weights))
    return replicas.total(ops.sum(weights * ops.stack(losses))) / ops.where(total == 0, 1.0, total)


def _steps(is_class: Any, count: Any) -> Any:
    """The increase of 1 - IoU by each pixel, the one with the largest error first."""
    total = ops.sum(is_class * count)
    intersection = total - ops.cumsum(is_class * count)
    union = total + ops.cumsum((1.0 - is_class) * count)
    loss = 1.0 - intersection / ops.maximum(union, keras.config.epsilon())
    return ops.stop_gradient(loss - ops.concatenate([ops.zeros((1,)), loss[:-1]]))


@keras.saving.register_keras_serializable(package="kseg")
class LovaszSoftmax(SegmentationLoss):
    """`lovasz_softmax` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        name: str = "lovasz_softmax",
    ):
        super().__init__(lovasz_softmax, name, ignore_class, class_weights, from_logits)
