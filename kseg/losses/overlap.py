"""Losses of whole regions, averaged over the classes present: Dice, Jaccard, Tversky, focal Tversky."""

import functools
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kseg import replicas
from kseg.losses.loss import SegmentationLoss, loss_function
from kseg.losses.targets import probabilities, read_class_weights, read_labels, read_sample_weight


def _sums(
    y_true: Any,
    y_pred: Any,
    ignore_class: int | None,
    from_logits: bool,
    sample_weight: Any,
    per_image: bool,
    squared: bool = False,
) -> tuple[Any, Any, Any]:
    """For each class: the sums of the intersection, of the predictions and of the targets over the labeled pixels."""
    y_pred = ops.cast(y_pred, "float32")
    target, valid, one_hot = read_labels(y_true, y_pred, ignore_class)
    if not one_hot:
        target = ops.one_hot(target, y_pred.shape[-1], dtype="float32") * valid[..., None]
    predicted = probabilities(y_pred, from_logits)
    weight = (valid * read_sample_weight(sample_weight, valid))[..., None]
    axes = (1, 2) if per_image else (0, 1, 2)
    power = 2 if squared else 1
    overlap, predicted, target = predicted * target, predicted**power, target**power
    sums = [ops.sum(weight * of, axes) for of in (overlap, predicted, target)]
    return tuple(sums if per_image else map(replicas.total, sums))


def _over_classes(loss: Any, present: Any, class_weights: Any, y_pred: Any, per_image: bool) -> Any:
    """The (weighted) mean over the classes present; of a binary task without class weights, that of the foreground."""
    weights = read_class_weights(class_weights, y_pred)
    if y_pred.shape[-1] == 1 and class_weights is None:
        loss, present, weights = loss[..., 1:], present[..., 1:], weights[1:]
    # The NaN of a label outside the classes must stay: it is not above 0, but it is not 0 either.
    weights = weights * ops.where(present == 0, 0.0, 1.0)
    total = ops.sum(weights)
    loss = ops.sum(weights * loss)
    if per_image:  # else each replica has the sums of all
        total, loss = replicas.total(total), replicas.total(loss)
    return loss / ops.where(total == 0, 1.0, total)


def _ratio(numerator: Any, denominator: Any, smooth: float) -> Any:
    return (numerator + smooth) / ops.maximum(denominator + smooth, keras.config.epsilon())


@loss_function
def dice(
    y_true: Any,
    y_pred: Any,
    *,
    squared: bool = False,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Dice loss: 1 - 2 |A B| / (|A| + |B|) of each class, averaged over the classes present in the labels.

    A is the predicted probability, B the one-hot label, and |.| the sum over the labeled pixels of the batch. In a
    binary task only the foreground counts, unless there are `class_weights`, which are the weights of this average.

    Args:
        squared: Whether to sum squares in the denominator, as in V-Net.

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
    return _over_classes(loss, target, class_weights, y_pred, per_image)


@loss_function
def jaccard(
    y_true: Any,
    y_pred: Any,
    *,
    smooth: float = 0.0,
    per_image: bool = False,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Jaccard (soft IoU) loss: 1 - |A B| / (|A| + |B| - |A B|) of each class, averaged over the classes present.

    The symbols and the average are those of `dice`.

    Reference:
        Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation, 2016,
        https://doi.org/10.1007/978-3-319-50835-1_22
    """
    overlap, predicted, target = _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image)
    loss = 1.0 - _ratio(overlap, predicted + target - overlap, smooth)
    return _over_classes(loss, target, class_weights, y_pred, per_image)


def _check(alpha: float, beta: float, gamma: float) -> None:
    """Raises a ValueError if every prediction would have the same loss."""
    if alpha == beta == 0:
        raise ValueError("alpha or beta must be above 0: every prediction would have the same loss")
    if gamma == 0:
        raise ValueError("gamma must be above 0: every prediction would have the same loss")


@loss_function
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
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Tversky loss: (1 - TP / (TP + alpha FP + beta FN))^gamma of each class, averaged over the classes present.

    A larger beta finds more of a rare class. `alpha=0.5, beta=0.5` gives `dice`, `alpha=1, beta=1` gives `jaccard`. The
    average is that of `dice`.

    Args:
        alpha: Weight of false positives. Some texts exchange alpha and beta.
        beta: Weight of false negatives.
        gamma: Exponent, above 0. Above 1, classes that are nearly right count less; below 1, they count more.

    Reference:
        Salehi et al., Tversky Loss Function for Image Segmentation, 2017, https://arxiv.org/abs/1706.05721; gamma:
        Abraham and Khan, A Novel Focal Tversky Loss Function, 2018, https://arxiv.org/abs/1810.07842
    """
    _check(alpha, beta, gamma)
    overlap, predicted, target = _sums(y_true, y_pred, ignore_class, from_logits, sample_weight, per_image)
    wrong = alpha * (predicted - overlap) + beta * (target - overlap)
    loss = 1.0 - _ratio(overlap, overlap + wrong, smooth)
    if gamma != 1:
        loss = ops.maximum(loss, keras.config.epsilon()) ** gamma  # powers below 1 have no gradient at 0
    return _over_classes(loss, target, class_weights, y_pred, per_image)


focal_tversky = functools.partial(tversky, gamma=0.75)
"""`tversky` with the exponent of Abraham and Khan: their 1 / gamma with gamma = 4/3."""


@keras.saving.register_keras_serializable(package="kseg")
class Dice(SegmentationLoss):
    """`dice` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        squared: bool = False,
        smooth: float = 0.0,
        per_image: bool = False,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        name: str = "dice",
    ):
        options = {"squared": squared, "smooth": smooth, "per_image": per_image}
        super().__init__(dice, name, ignore_class, class_weights, from_logits, **options)


@keras.saving.register_keras_serializable(package="kseg")
class Jaccard(SegmentationLoss):
    """`jaccard` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        smooth: float = 0.0,
        per_image: bool = False,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        name: str = "jaccard",
    ):
        super().__init__(jaccard, name, ignore_class, class_weights, from_logits, smooth=smooth, per_image=per_image)


@keras.saving.register_keras_serializable(package="kseg")
class Tversky(SegmentationLoss):
    """`tversky` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
        smooth: float = 0.0,
        per_image: bool = False,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        name: str = "tversky",
    ):
        options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth, "per_image": per_image}
        _check(alpha, beta, gamma)
        super().__init__(tversky, name, ignore_class, class_weights, from_logits, **options)


@keras.saving.register_keras_serializable(package="kseg")
class FocalTversky(SegmentationLoss):
    """`focal_tversky` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 0.0,
        per_image: bool = False,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        name: str = "focal_tversky",
    ):
        options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth, "per_image": per_image}
        _check(alpha, beta, gamma)
        super().__init__(focal_tversky, name, ignore_class, class_weights, from_logits, **options)
