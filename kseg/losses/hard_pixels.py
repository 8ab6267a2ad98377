"""Cross-entropy that emphasizes hard pixels, by a factor (focal) or by a selection (OHEM)."""

import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kseg.losses._cross_entropy import pixel_cross_entropy
from kseg.losses.loss import SegmentationLoss, loss_function
from kseg.losses.targets import mean, read_sample_weight


def _plain_and_weighted(
    y_true: Any,
    y_pred: Any,
    ignore_class: int | None,
    from_logits: bool,
    class_weights: Iterable[float] | None,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any, Any, Any]:
    """`pixel_cross_entropy` without and with class weights and label smoothing."""
    plain, valid = pixel_cross_entropy(y_true, y_pred, ignore_class=ignore_class, from_logits=from_logits)
    if class_weights is None and not label_smoothing:
        return plain, valid, plain, valid
    options: dict[str, Any] = {"class_weights": class_weights, "label_smoothing": label_smoothing}
    weighted = pixel_cross_entropy(y_true, y_pred, ignore_class=ignore_class, from_logits=from_logits, **options)
    return plain, valid, *weighted


@loss_function
def focal(
    y_true: Any,
    y_pred: Any,
    *,
    gamma: float = 2.0,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Focal loss: cross-entropy times (1 - p)^gamma, where p is the probability of the class of the pixel.

    For a soft label, p is exp(-cross-entropy).

    Args:
        gamma: Exponent, 0 or more. The larger it is, the less easy pixels count; 0 gives cross-entropy.

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, 2017, https://arxiv.org/abs/1708.02002
    """
    plain, valid, loss, weight = _plain_and_weighted(y_true, y_pred, ignore_class, from_logits, class_weights)
    if gamma:
        # 1 - p = -expm1(log p), kept above 0, where powers below 1 have no gradient.
        loss = loss * ops.maximum(-ops.expm1(-plain), keras.config.epsilon()) ** gamma
    pixels = read_sample_weight(sample_weight, weight)
    return mean(loss * pixels, weight * pixels, valid, normalizer)


@loss_function
def ohem(
    y_true: Any,
    y_pred: Any,
    *,
    threshold: float = 0.7,
    min_kept: float = 1 / 16,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Online hard example mining: cross-entropy of the hard pixels, by default sum(w * ce) / sum(w) over them.

    A pixel is hard if the probability of its class is at most `threshold`. If fewer than the fraction `min_kept` of the
    labeled pixels are hard, the hardest pixels up to this fraction are kept. Weights do not change the selection.

    Args:
        threshold: Probability, 0 to 1.
        min_kept: Fraction of the labeled pixels of the batch, 0 to 1; 1 gives cross-entropy.
        normalizer: "weights" divides by the sum of the weights of the kept pixels, "pixels" by their number.

    Reference:
        Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, 2016,
        https://arxiv.org/abs/1604.03540; by a threshold on pixels: Wu et al., Bridging Category-level and
        Instance-level Semantic Image Segmentation, 2016, https://arxiv.org/abs/1605.06885
    """
    plain, valid, loss, weight = _plain_and_weighted(
        y_true, y_pred, ignore_class, from_logits, class_weights, label_smoothing
    )
    hardness = ops.stop_gradient(ops.where(valid > 0, plain, -1.0))
    ranked = ops.flip(ops.sort(ops.reshape(hardness, (-1,))))
    count = ops.sum(ops.cast(valid > 0, "int32"))
    last = ops.cast(ops.ceil(min_kept * ops.cast(count, "float32")), "int32") - 1
    enough = ops.take(ranked, ops.maximum(last, 0))
    hard = hardness >= ops.minimum(-math.log(threshold) if threshold > 0 else math.inf, ops.maximum(enough, 0.0))
    # The NaN of a label outside the classes must stay.
    keep = ops.where(ops.isnan(valid), valid, ops.cast(hard, "float32"))
    pixels = read_sample_weight(sample_weight, weight) * keep
    return mean(loss * pixels, weight * pixels, valid * keep, normalizer)


@keras.saving.register_keras_serializable(package="kseg")
class Focal(SegmentationLoss):
    """`focal` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        normalizer: str = "weights",
        name: str = "focal",
    ):
        super().__init__(focal, name, ignore_class, class_weights, from_logits, gamma=gamma, normalizer=normalizer)


@keras.saving.register_keras_serializable(package="kseg")
class OHEM(SegmentationLoss):
    """`ohem` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        threshold: float = 0.7,
        min_kept: float = 1 / 16,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        normalizer: str = "weights",
        name: str = "ohem",
    ):
        hard: dict[str, Any] = {"threshold": threshold, "min_kept": min_kept}
        options = {**hard, "label_smoothing": label_smoothing, "normalizer": normalizer}
        super().__init__(ohem, name, ignore_class, class_weights, from_logits, **options)
