"""Cross-entropy that cares for hard pixels more than for easy ones: by a factor (focal) or by choice (OHEM)."""

import math
from typing import Any

import keras
from keras import ops

from kseg.losses.cross_entropy import pixel_cross_entropy
from kseg.losses.loss import SegmentationLoss
from kseg.losses.targets import mean, read_sample_weight


def focal(
    y_true: Any,
    y_pred: Any,
    *,
    gamma: float = 2.0,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Focal loss: cross-entropy times (1 - p)^gamma, where p is the probability of the pixel's class.

    Of a soft label, p is exp(-cross-entropy).

    Args:
        y_true: see `cross_entropy`.
        y_pred: see `cross_entropy`.
        gamma: how much less the easy pixels count, >= 0; 0 is cross-entropy.
        ignore_class: see `cross_entropy`.
        class_weights: the paper's alpha; see `cross_entropy`.
        from_logits: see `cross_entropy`.
        normalizer: see `cross_entropy`.
        sample_weight: see `cross_entropy`.

    Returns:
        A float32 scalar, >= 0; `nan` if a label is neither a class nor `ignore_class`.

    Raises:
        ValueError: see `cross_entropy`.

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, 2017, https://arxiv.org/abs/1708.02002
    """
    plain, valid = pixel_cross_entropy(y_true, y_pred, ignore_class=ignore_class, from_logits=from_logits)
    loss, weight = plain, valid
    if class_weights is not None:
        loss, weight = pixel_cross_entropy(
            y_true, y_pred, ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits
        )
    if gamma:
        # 1 - p = -expm1(log p); above 0, where powers below 1 have no gradient.
        loss = loss * ops.maximum(-ops.expm1(-plain), keras.config.epsilon()) ** gamma
    pixels = read_sample_weight(sample_weight, weight)
    return mean(loss * pixels, weight * pixels, valid, normalizer)


def ohem(
    y_true: Any,
    y_pred: Any,
    *,
    threshold: float = 0.7,
    min_kept: float = 1 / 16,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy of the hard pixels only (online hard example mining), by default sum(w * ce) / sum(w) over them.

    A pixel is hard where its class has a probability of at most `threshold`; if fewer than the share `min_kept` of the
    labelled pixels are, then the hardest of that share are taken. Weights do not change which pixels are hard.

    Args:
        y_true: see `cross_entropy`.
        y_pred: see `cross_entropy`.
        threshold: probability, 0 to 1.
        min_kept: share of the batch's labelled pixels, 0 to 1; 1 is cross-entropy.
        ignore_class: see `cross_entropy`.
        class_weights: see `cross_entropy`.
        from_logits: see `cross_entropy`.
        label_smoothing: see `cross_entropy`.
        normalizer: see `cross_entropy`; over the kept pixels: `"weights"` divides by the sum of their weights,
            `"pixels"` by their number.
        sample_weight: see `cross_entropy`.

    Returns:
        A float32 scalar, >= 0; `nan` if a label is neither a class nor `ignore_class`.

    Raises:
        ValueError: see `cross_entropy`.

    Reference:
        Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, 2016,
        https://arxiv.org/abs/1604.03540; by a threshold on pixels: Wu et al., Bridging Category-level and
        Instance-level Semantic Image Segmentation, 2016, https://arxiv.org/abs/1605.06885
    """
    if not 0 <= min_kept <= 1 or not 0 <= threshold <= 1:
        told = f"min_kept={min_kept}, threshold={threshold}"
        raise ValueError(f"min_kept, a share of the pixels, and threshold, a probability, are 0 to 1: got {told}")
    plain, valid = pixel_cross_entropy(y_true, y_pred, ignore_class=ignore_class, from_logits=from_logits)
    loss, weight = plain, valid
    if class_weights is not None or label_smoothing:
        loss, weight = pixel_cross_entropy(
            y_true,
            y_pred,
            ignore_class=ignore_class,
            class_weights=class_weights,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )
    hardness = ops.stop_gradient(ops.where(valid > 0, plain, -1.0))
    ranked = ops.flip(ops.sort(ops.reshape(hardness, (-1,))))
    count = ops.sum(ops.cast(valid > 0, "int32"))
    last = ops.cast(ops.ceil(min_kept * ops.cast(count, "float32")), "int32") - 1
    enough = ops.take(ranked, ops.maximum(last, 0))
    hard = hardness >= ops.minimum(-math.log(threshold) if threshold > 0 else math.inf, ops.maximum(enough, 0.0))
    # Not times 0: a stray label's nan must stay.
    keep = ops.where(ops.isnan(valid), valid, ops.cast(hard, "float32"))
    pixels = read_sample_weight(sample_weight, weight) * keep
    return mean(loss * pixels, weight * pixels, valid * keep, normalizer)


@keras.saving.register_keras_serializable(package="kseg")
class Focal(SegmentationLoss):
    """`focal` for `compile`."""

    function = staticmethod(focal)


@keras.saving.register_keras_serializable(package="kseg")
class OHEM(SegmentationLoss):
    """`ohem` for `compile`."""

    function = staticmethod(ohem)
