"""Reads labels, predictions and weights in the form that all losses use."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kseg import replicas
from kseg.classes import is_one_hot


def read_labels(y_true: Any, y_pred: Any, ignore_class: int | None) -> tuple[Any, Any, bool]:
    """Returns the labels, whether each pixel counts, and whether the labels are one-hot.

    The labels are int32 `(N, H, W)`, 0 where they do not count, or float32 one-hot `(N, H, W, C)`; for a binary task
    always `(N, H, W, 2)`. A pixel counts 1 or 0, float32 `(N, H, W)`, and NaN if its label is neither a class nor void,
    a fraction, or one-hot with a sum other than 0 or 1, because a compiled function cannot raise an error.
    """
    y_true = ops.convert_to_tensor(y_true)
    classes = max(y_pred.shape[-1], 2)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    one_hot = len(y_true.shape) == len(y_pred.shape)
    expected = tuple(y_pred.shape if one_hot else y_pred.shape[:-1])
    if len(y_true.shape) != len(expected) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(y_true.shape, expected, strict=True)
    ):
        raise ValueError(f"labels of shape {tuple(y_true.shape)} do not fit y_pred of shape {tuple(y_pred.shape)}")
    if one_hot:
        target = ops.cast(y_true, "float32")
        target = ops.where(is_one_hot(target)[..., None], target, float("nan"))
        if ignore_class is not None:
            target = target * ops.cast(ops.arange(classes) != ignore_class, "float32")
        return target, ops.sum(target, axis=-1), True
    # The dtype does not tell ids from probabilities: Keras converts all labels of a loss to float32.
    binary = y_pred.shape[-1] == 1
    label = ops.cast(y_true, "float32" if binary else "int32")
    whole = ops.equal(label, y_true)
    inside = (label >= 0) & (label <= classes - 1) & whole
    if ignore_class is None:
        valid = ops.where(inside, 1.0, float("nan"))
    else:
        void = (label == ignore_class) & whole
        inside = inside & ops.logical_not(void)
        valid = ops.where(inside, 1.0, ops.where(void, 0.0, float("nan")))
    label = ops.where(inside, label, 0)
    if binary:
        return ops.stack([1.0 - label, label], axis=-1) * valid[..., None], valid, True
    return label, valid, False


def read_class_weights(class_weights: Any, y_pred: Any) -> Any:
    """Converts class weights to float32 `(max(C, 2),)` and checks their number."""
    classes = max(y_pred.shape[-1], 2)
    weights = np.ones(classes, "float32") if class_weights is None else np.asarray(class_weights, "float32")
    if weights.shape != (classes,):
        raise ValueError(f"class_weights has shape {weights.shape}, but {classes} classes need ({classes},)")
    return ops.convert_to_tensor(weights)


def log_probabilities(y_pred: Any, from_logits: bool) -> Any:
    """Log-probabilities `(N, H, W, max(C, 2))` of float32 predictions."""
    binary = y_pred.shape[-1] == 1
    if from_logits:
        if binary:
            return ops.concatenate([ops.log_sigmoid(-y_pred), ops.log_sigmoid(y_pred)], axis=-1)
        return ops.log_softmax(y_pred, axis=-1)
    if binary:
        y_pred = ops.concatenate([1.0 - y_pred, y_pred], axis=-1)
    return ops.log(ops.clip(y_pred, keras.config.epsilon(), 1.0))


def probabilities(y_pred: Any, from_logits: bool) -> Any:
    """Probabilities `(N, H, W, max(C, 2))` of float32 predictions."""
    binary = y_pred.shape[-1] == 1
    if from_logits:
        y_pred = ops.sigmoid(y_pred) if binary else ops.softmax(y_pred, axis=-1)
    return ops.concatenate([1.0 - y_pred, y_pred], axis=-1) if binary else y_pred


def read_sample_weight(sample_weight: Any, like: Any) -> Any:
    """Converts weights `(N,)`, `(N, H, W)` or `(N, H, W, 1)` to float32 of a shape that fits `(N, H, W)`; None to 1."""
    if sample_weight is None:
        return 1.0
    sample_weight = ops.cast(sample_weight, "float32")
    if len(sample_weight.shape) > len(like.shape):
        sample_weight = ops.squeeze(sample_weight, -1)
    given, labels = tuple(sample_weight.shape), tuple(like.shape)
    fits = all(None in pair or pair[0] in (1, pair[1]) for pair in zip(given, labels, strict=False))
    if len(given) not in (0, 1, len(labels)) or not fits:
        raise ValueError(f"sample_weight of shape {given} does not fit labels of shape {labels}")
    missing = len(labels) - len(given)
    return ops.reshape(sample_weight, (*ops.shape(sample_weight), *[1] * missing))


def mean(loss: Any, weight: Any, counted: Any, normalizer: str) -> Any:
    """The sum of the weighted losses by the sum of the weights, or by the number of pixels; 0 if no pixel counts."""
    total = replicas.total(ops.sum(weight if normalizer == "weights" else counted))
    return replicas.total(ops.sum(loss)) / ops.where(total == 0, 1.0, total)
