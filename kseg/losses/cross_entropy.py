"""Cross-entropy, plain and balanced."""

from typing import Any

import keras
from keras import ops

from kseg.losses.loss import SegmentationLoss
from kseg.losses.targets import log_probabilities, mean, read_class_weights, read_labels, read_sample_weight


def pixel_cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any]:
    """Weighted cross-entropy of each pixel and the weight it carries, for `cross_entropy` and for losses of your own.

    Args:
        y_true: ids `(N, H, W)` or `(N, H, W, 1)`, or (soft) one-hot `(N, H, W, C)` whose void pixels are all zero. For
            C = 1 a label is the probability of class 1: 0 and 1 are ids as they are, values between are soft labels.
            Ids may come as floats.
        y_pred: `(N, H, W, C)` logits, or probabilities without `from_logits`; C = 1 is a binary task.
        ignore_class: label of void pixels; None where there are none.
        class_weights: one number a class (two for a binary task), or None for 1.
        from_logits: whether `y_pred` holds logits.
        label_smoothing: 0..1, the share of the target that is spread evenly over all classes.

    Returns:
        Two float32 tensors `(N, H, W)`: the loss times its weight, and the weight (the class weight of the label, of a
        soft one the mean). Void pixels are 0 in both. A label that is neither a class nor void is an error in the data,
        but a compiled function cannot raise: it is `nan` in both.

    Raises:
        ValueError: if the shapes don't fit one another, or the number of class weights.
    """
    y_pred = ops.cast(y_pred, "float32")
    channels = y_pred.shape[-1]
    weights = read_class_weights(class_weights, y_pred)
    target, valid, one_hot = read_labels(y_true, y_pred, ignore_class)
    if one_hot:
        weight = ops.sum(target * weights, axis=-1)
        loss = -ops.sum(target * weights * log_probabilities(y_pred, from_logits), axis=-1)
    else:
        weight = valid if class_weights is None else valid * ops.take(weights, target)
        if from_logits:
            # Fused on TensorFlow and PyTorch, where log_softmax and a one-hot copy of the labels would be held.
            loss = weight * ops.sparse_categorical_crossentropy(target, y_pred, from_logits=True)
        else:
            log_p = ops.take_along_axis(log_probabilities(y_pred, from_logits), target[..., None], axis=-1)
            loss = -weight * log_p[..., 0]
    if label_smoothing:
        spread = -ops.sum(weights / max(channels, 2) * log_probabilities(y_pred, from_logits), axis=-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * valid * spread
    return loss, weight


def cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy over the labelled pixels of a batch: sum(w * ce) / sum(w).

    The weight w of a pixel is the class weight of its label times its sample weight, 0 where it is void. A batch that
    is all void has loss 0 and gradient 0.

    Args:
        y_true: see `pixel_cross_entropy`.
        y_pred: see `pixel_cross_entropy`; computed in float32, whatever its dtype.
        ignore_class: see `pixel_cross_entropy`.
        class_weights: see `pixel_cross_entropy`.
        from_logits: see `pixel_cross_entropy`.
        label_smoothing: see `pixel_cross_entropy`; the smoothed part is weighted as PyTorch does.
        normalizer: `"weights"` divides by the sum of the weights, PyTorch's rule: scaling all of them changes nothing;
            `"pixels"` by the number of labelled pixels, Caffe's rule.
        sample_weight: weights `(N,)`, `(N, H, W)` or `(N, H, W, 1)`, or None for 1.

    Returns:
        A float32 scalar, >= 0; `nan` if a label is neither a class nor `ignore_class`.

    Raises:
        ValueError: if the shapes don't fit one another, or the number of class weights, or the normaliser is unknown.

    Example:
        >>> import numpy as np
        >>> from kseg.losses import cross_entropy
        >>> logits = np.zeros((1, 1, 2, 4), "float32")
        >>> print(f"{float(cross_entropy(np.array([[[3, 255]]]), logits)):.4f}")       # log(4)
        1.3863
    """
    loss, weight = pixel_cross_entropy(
        y_true,
        y_pred,
        ignore_class=ignore_class,
        class_weights=class_weights,
        from_logits=from_logits,
        label_smoothing=label_smoothing,
    )
    pixels = read_sample_weight(sample_weight, weight)
    counted = weight
    if normalizer == "pixels":
        _, counted, _ = read_labels(y_true, y_pred, ignore_class)
    return mean(loss * pixels, weight * pixels, counted, normalizer)


@keras.saving.register_keras_serializable(package="kseg")
class CrossEntropy(SegmentationLoss):
    """`cross_entropy` for `compile`.

    Example:
        >>> import keras
        >>> from kseg.losses import CrossEntropy
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3, padding="same")])
        >>> model.compile("adam", CrossEntropy(class_weights=[1.0, 5.0]))
    """

    function = staticmethod(cross_entropy)


@keras.saving.register_keras_serializable(package="kseg")
class BalancedCrossEntropy(CrossEntropy):
    """Balanced cross-entropy: sum(alpha_c * ce) over the number of labelled pixels, so that the alphas' scale matters.

    `class_weights` are the alphas; the rest as in `cross_entropy`.

    Raises:
        ValueError: without class weights: that would be `CrossEntropy`.
    """

    def __init__(
        self, *, class_weights: Any = None, normalizer: str = "pixels", name: str | None = None, **options: Any
    ):
        if class_weights is None:
            raise ValueError("BalancedCrossEntropy needs class_weights: kseg.losses.class_weights(dataset) finds them")
        name = name or "balanced_cross_entropy"
        super().__init__(class_weights=class_weights, normalizer=normalizer, name=name, **options)
