"""Losses of whole regions, averaged over the classes present: Dice, Jaccard, Tversky, focal Tversky."""

from typing import Any

import keras
from keras import ops

from kseg.losses.loss import SegmentationLoss
from kseg.losses.targets import probabilities, read_class_weights, read_labels, read_sample_weight


def _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image, squared=False) -> tuple[Any, Any, Any]:
    """Of each class: the intersection, the sum of the predictions, the sum of the targets; void left out."""
    y_pred = ops.cast(y_pred, "float32")
    target, valid, one_hot = read_labels(y_true, y_pred, ignore_class)
    if not one_hot:
        target = ops.one_hot(target, y_pred.shape[-1], dtype="float32") * valid[..., None]
    predicted = probabilities(y_pred, from_logits)
    weight = (valid * read_sample_weight(sample_weight, valid))[..., None]
    axes = (1, 2) if per_image else (0, 1, 2)
    power = 2 if squared else 1
    sums = (predicted * target, predicted**power, target**power)
    return tuple(ops.sum(weight * term, axis=axes) for term in sums)


def _over_classes(loss: Any, present: Any, class_weights: Any, y_pred: Any) -> Any:
    """The (weighted) mean over the classes that occur; a binary task without class weights has one, the foreground."""
    weights = read_class_weights(class_weights, y_pred)
    if y_pred.shape[-1] == 1 and class_weights is None:
        loss, present, weights = loss[..., 1:], present[..., 1:], weights[1:]
    # A stray label's nan must stay: nan is not above 0, yet not 0.
    weights = weights * ops.where(present == 0, 0.0, 1.0)
    total = ops.sum(weights)
    return ops.sum(weights * loss) / ops.where(total == 0, 1.0, total)


def dice(
    y_true: Any,
    y_pred: Any,
    *,
    squared: bool = False,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Dice loss: 1 - 2 |A B| / (|A| + |B|) of each class, averaged over the classes present in the labels.

    A is the predicted probability, B the one-hot label, and |.| sums over the labelled pixels of the batch. A binary
    task counts the foreground alone, unless `class_weights` name the background too.

    Args:
        y_true: ids `(N, H, W)` or `(N, H, W, 1)`, or (soft) one-hot `(N, H, W, C)` whose void pixels are all zero. For
            C = 1 a label is the probability of class 1: 0 and 1 are ids as they are, values between are soft labels.
            Ids may come as floats.
        y_pred: `(N, H, W, C)` logits, or probabilities without `from_logits`; C = 1 is a binary task.
        squared: sums of squares in the denominator (V-Net's form) instead of plain sums.
        smooth: is added to numerator and denominator.
        per_image: sums over each image, averaged over all pairs of image and class, instead of over the batch.
        ignore_class: label of void pixels; None where there are none.
        class_weights: weights of the mean over classes (two for a binary task), or None for 1.
        from_logits: whether `y_pred` holds logits.
        sample_weight: weights `(N,)`, `(N, H, W)` or `(N, H, W, 1)`, which multiply every sum, or None for 1.

    Returns:
        A float32 scalar, 0 to 1; 0 with gradient 0 where no class is present; `nan` if a label is neither a class nor
        `ignore_class`.

    Raises:
        ValueError: if the shapes don't fit one another, or the number of class weights.

    Reference:
        Milletari et al., V-Net, 2016, https://arxiv.org/abs/1606.04797

    Example:
        >>> import numpy as np
        >>> from kseg.losses import dice
        >>> p, label = np.array([[[[0.5], [1.0]]]]), np.array([[[0, 1]]])
        >>> float(dice(label, p, from_logits=False))       # 1 - 2 * 1 / (1.5 + 1)
        0.19999998807907104
    """
    overlap, predicted, target = _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image, squared)
    loss = 1.0 - _ratio(2.0 * overlap, predicted + target, smooth)
    return _over_classes(loss, target, class_weights, y_pred)


def jaccard(
    y_true: Any,
    y_pred: Any,
    *,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Jaccard (soft IoU) loss: 1 - |A B| / (|A| + |B| - |A B|) of each class, averaged over the classes present.

    Args:
        y_true: see `dice`.
        y_pred: see `dice`.
        smooth: see `dice`.
        per_image: see `dice`.
        ignore_class: see `dice`.
        class_weights: see `dice`.
        from_logits: see `dice`.
        sample_weight: see `dice`.

    Returns:
        As `dice`.

    Raises:
        ValueError: see `dice`.

    Reference:
        Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation, 2016,
        https://doi.org/10.1007/978-3-319-50835-1_22
    """
    overlap, predicted, target = _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image)
    loss = 1.0 - _ratio(overlap, predicted + target - overlap, smooth)
    return _over_classes(loss, target, class_weights, y_pred)


def tversky(
    y_true: Any,
    y_pred: Any,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Tversky loss: (1 - TP / (TP + alpha FP + beta FN))^gamma of each class, averaged over the classes present.

    alpha weighs false positives and beta false negatives (some texts have it the other way round): a larger beta finds
    more of a rare class. Both 1/2 give `dice`, both 1 `jaccard`.

    Args:
        y_true: see `dice`.
        y_pred: see `dice`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: above 1 classes that are nearly right count less, below 1 more; > 0.
        smooth: see `dice`.
        per_image: see `dice`.
        ignore_class: see `dice`.
        class_weights: see `dice`.
        from_logits: see `dice`.
        sample_weight: see `dice`.

    Returns:
        As `dice`.

    Raises:
        ValueError: see `dice`.

    Reference:
        Salehi et al., Tversky Loss Function for Image Segmentation, 2017, https://arxiv.org/abs/1706.05721; gamma:
        Abraham and Khan, A Novel Focal Tversky Loss Function, 2018, https://arxiv.org/abs/1810.07842
    """
    overlap, predicted, target = _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image)
    wrong = alpha * (predicted - overlap) + beta * (target - overlap)
    loss = 1.0 - _ratio(overlap, overlap + wrong, smooth)
    if gamma != 1:
        loss = ops.maximum(loss, keras.config.epsilon()) ** gamma  # powers below 1 have no gradient at 0
    return _over_classes(loss, target, class_weights, y_pred)


def focal_tversky(
    y_true: Any,
    y_pred: Any,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """`tversky` with Abraham and Khan's exponent: their 1/gamma with gamma = 4/3.

    Args:
        y_true: see `dice`.
        y_pred: see `dice`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: the exponent itself; see `tversky`.
        smooth: see `dice`.
        per_image: see `dice`.
        ignore_class: see `dice`.
        class_weights: see `dice`.
        from_logits: see `dice`.
        sample_weight: see `dice`.

    Returns:
        As `dice`.

    Raises:
        ValueError: see `dice`.
    """
    return tversky(
        y_true,
        y_pred,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        smooth=smooth,
        per_image=per_image,
        ignore_class=ignore_class,
        class_weights=class_weights,
        from_logits=from_logits,
        sample_weight=sample_weight,
    )


def _ratio(numerator: Any, denominator: Any, smooth: float) -> Any:
    return (numerator + smooth) / ops.maximum(denominator + smooth, keras.config.epsilon())


@keras.saving.register_keras_serializable(package="kseg")
class Dice(SegmentationLoss):
    """`dice` for `compile`."""

    function = staticmethod(dice)


@keras.saving.register_keras_serializable(package="kseg")
class Jaccard(SegmentationLoss):
    """`jaccard` for `compile`."""

    function = staticmethod(jaccard)


@keras.saving.register_keras_serializable(package="kseg")
class Tversky(SegmentationLoss):
    """`tversky` for `compile`."""

    function = staticmethod(tversky)


@keras.saving.register_keras_serializable(package="kseg")
class FocalTversky(SegmentationLoss):
    """`focal_tversky` for `compile`."""

    function = staticmethod(focal_tversky)
