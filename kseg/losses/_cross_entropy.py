"""Cross-entropy, plain and balanced."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kseg.losses.loss import SegmentationLoss, loss_function
from kseg.losses.targets import log_probabilities, mean, read_class_weights, read_labels, read_sample_weight


@loss_function
def pixel_cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any]:
    """Weighted cross-entropy of each pixel and the weight of each pixel, for losses of your own.

    Returns:
        Two float32 tensors `(N, H, W)`: the loss times its weight, and the weight, which is the class weight of the
        label (of a soft label the mean). Both are 0 at void pixels, and NaN if a label is neither a class nor
        `ignore_class`, because a compiled function cannot raise an error.
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
            loss = weight * _of_labels(target, y_pred)
        else:
            log_p = ops.take_along_axis(log_probabilities(y_pred, from_logits), target[..., None], axis=-1)
            loss = -weight * log_p[..., 0]
    if label_smoothing:
        spread = -ops.sum(weights / max(channels, 2) * log_probabilities(y_pred, from_logits), axis=-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * valid * spread
    return loss, weight


def _of_labels(target: Any, logits: Any) -> Any:
    """Returns the cross-entropy of each pixel; neither log_softmax nor one-hot labels are kept in memory."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        if not tensorflow.config.list_logical_devices("GPU"):  # TensorFlow's operation for CPUs is slow
            return ops.logsumexp(logits, axis=-1) - tensorflow.gather(
                logits, target, axis=-1, batch_dims=len(target.shape)
            )
    return ops.sparse_categorical_crossentropy(target, logits, from_logits=True)


@loss_function
def cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy over the labeled pixels of a batch: sum(w * ce) / sum(w).

    The weight w of a pixel is the class weight of its label times its sample weight, and 0 at void pixels.

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
    """`cross_entropy` as a Keras loss, with the same arguments.

    Example:
        >>> import keras
        >>> from kseg.losses import CrossEntropy
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3, padding="same")])
        >>> model.compile("adam", CrossEntropy(class_weights=[1.0, 5.0]))
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        normalizer: str = "weights",
        name: str = "cross_entropy",
    ):
        options = {"label_smoothing": label_smoothing, "normalizer": normalizer}
        super().__init__(cross_entropy, name, ignore_class, class_weights, from_logits, **options)


@keras.saving.register_keras_serializable(package="kseg")
class BalancedCrossEntropy(SegmentationLoss):
    """Balanced cross-entropy: sum(alpha * ce) divided by the number of labeled pixels, so that scaling alpha matters.

    Args:
        class_weights: The alphas, one per class. The other arguments are those of `cross_entropy`.

    Raises:
        ValueError: If there are no class weights.
    """

    def __init__(
        self,
        *,
        class_weights: Iterable[float] | None = None,
        ignore_class: int | None = 255,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        normalizer: str = "pixels",
        name: str = "balanced_cross_entropy",
    ):
        if class_weights is None:
            raise ValueError(
                "BalancedCrossEntropy needs class_weights: compute them by kseg.losses.class_weights(dataset)"
            )
        options = {"label_smoothing": label_smoothing, "normalizer": normalizer}
        super().__init__(cross_entropy, name, ignore_class, class_weights, from_logits, **options)
