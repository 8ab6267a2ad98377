"""Cross-entropy that emphasizes pixels near the borders of classes, and a loss for finding these borders."""

import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kseg import replicas
from kseg.losses._cross_entropy import pixel_cross_entropy
from kseg.losses.loss import SegmentationLoss, loss_function
from kseg.losses.targets import log_probabilities, mean, read_labels, read_sample_weight


@loss_function
def boundary_weighted(
    y_true: Any,
    y_pred: Any,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    ignore_class: int | None = 255,
    class_weights: Iterable[float] | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy with weights near borders as in U-Net: the class weight times 1 + w0 exp(-d^2 / (2 sigma^2)).

    d is the distance in pixels to the nearest pixel with a neighbor of another class; above 3 sigma it counts as
    infinite. Void makes no border, and soft labels count as their largest class. U-Net uses the distances to the two
    nearest objects, which class labels do not distinguish. If the objects are known, pass the result of
    `kseg.losses.border_weights` to `fit` as `sample_weight` instead.

    Args:
        w0: Additional weight of a pixel at a border.
        sigma: Width of the border weights, in pixels.

    Reference:
        Ronneberger et al., U-Net, 2015, section 3, https://arxiv.org/abs/1505.04597
    """
    loss, weight = pixel_cross_entropy(
        y_true,
        y_pred,
        ignore_class=ignore_class,
        class_weights=class_weights,
        from_logits=from_logits,
        label_smoothing=label_smoothing,
    )
    label, valid, one_hot = read_labels(y_true, y_pred, ignore_class)
    label = ops.argmax(label, axis=-1) if one_hot else label
    squared = _squared_distance(_borders(label, valid > 0), math.ceil(3 * sigma))
    pixels = read_sample_weight(sample_weight, weight) * (1.0 + w0 * ops.exp(-squared / (2 * sigma**2)))
    return mean(loss * pixels, weight * pixels, valid, normalizer)


@loss_function
def border_detection(
    y_true: Any,
    y_pred: Any,
    *,
    radius: int = 1,
    ignore_class: int | None = 255,
    from_logits: bool = True,
    sample_weight: Any = None,
) -> Any:
    """Balanced binary cross-entropy of one output that finds where classes meet, computed from labels of classes.

    A pixel belongs to a border if it, or a pixel at most `radius` pixels away, has a neighbor of another class; void
    makes no border. Pixels of borders have the weight of all others, and the others that of the borders, as fractions.

    Args:
        y_true: Labels of the classes: integers `(N, H, W)` or `(N, H, W, 1)`, which may be stored as floats, or one-hot
            labels `(N, H, W, C)`, all zero at void pixels.
        y_pred: Logits `(N, H, W, 1)`, or probabilities of borders if `from_logits` is False.
        radius: Width of the borders in pixels, on each side, beside the pixels that touch.

    Returns:
        A float32 scalar, 0 or more; 0 if all pixels are void.

    Raises:
        ValueError: If `y_pred` has more than one channel.

    Reference:
        Xie, Tu: Holistically-Nested Edge Detection, 2015, https://arxiv.org/abs/1504.06375; for segmentation: Xu,
        Xiong, Bhattacharyya: PIDNet, 2023, https://arxiv.org/abs/2206.02066
    """
    if y_pred.shape[-1] != 1:
        raise ValueError(f"border_detection needs one channel, y_pred has {y_pred.shape[-1]}")
    label = ops.convert_to_tensor(y_true)
    if len(label.shape) == 4 and label.shape[-1] > 1:
        valid, label = ops.max(label, axis=-1) > 0, ops.argmax(label, axis=-1)
    else:
        label = ops.squeeze(label, -1) if len(label.shape) == 4 else label
        valid = ops.ones_like(label, "bool") if ignore_class is None else label != ignore_class
    border = _squared_distance(_borders(label, valid), radius) <= radius**2
    target = ops.cast(border, "float32")
    pixels = ops.cast(valid, "float32")
    pixels = pixels * read_sample_weight(sample_weight, pixels)
    total = replicas.total(ops.sum(pixels))
    share = replicas.total(ops.sum(pixels * target)) / ops.where(total == 0, 1.0, total)
    log_p = log_probabilities(ops.cast(y_pred, "float32"), from_logits)
    loss = -(1 - share) * target * log_p[..., 1] - share * (1 - target) * log_p[..., 0]
    return mean(loss * pixels, pixels, pixels, "weights")


def _borders(label: Any, valid: Any) -> Any:
    """Pixels that have a neighbor (left, right, above, below) of another class: bool `(N, H, W)`."""
    found = ops.zeros_like(valid)
    for axis in (1, 2):
        ahead = _shifted(label, axis, 1, 0) != label
        ahead = ahead & valid & _shifted(valid, axis, 1, False)
        found = found | ahead | _shifted(ahead, axis, -1, False)
    return found


def _shifted(x: Any, axis: int, by: int, fill: Any) -> Any:
    """The values `by` positions ahead along an axis; `fill` beyond the edge."""
    padding = [[0, 0]] * 3
    padding[axis] = [max(-by, 0), max(by, 0)]
    size = ops.shape(x)[axis]
    padded = ops.pad(ops.cast(x, "float32"), padding, constant_values=float(fill))
    window = [slice(None)] * 3
    window[axis] = slice(max(by, 0), max(by, 0) + size)
    return ops.cast(padded[tuple(window)], x.dtype)


def _squared_distance(marked: Any, radius: int) -> Any:
    """Squared Euclidean distance to the nearest marked pixel, exact within a radius: rows, then columns."""
    far = 1e6
    squared = ops.where(marked, 0.0, far)
    for axis in (1, 2):
        ways = [_shifted(squared, axis, by, far) + by**2 for by in range(-radius, radius + 1)]
        squared = ops.min(ops.stack(ways), axis=0)
    return squared


@keras.saving.register_keras_serializable(package="kseg")
class BoundaryWeighted(SegmentationLoss):
    """`boundary_weighted` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        w0: float = 10.0,
        sigma: float = 5.0,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        normalizer: str = "weights",
        name: str = "boundary_weighted",
    ):
        border: dict[str, Any] = {"w0": w0, "sigma": sigma}
        options = {**border, "label_smoothing": label_smoothing, "normalizer": normalizer}
        super().__init__(boundary_weighted, name, ignore_class, class_weights, from_logits, **options)


@keras.saving.register_keras_serializable(package="kseg")
class BorderDetection(SegmentationLoss):
    """`border_detection` as a Keras loss, with the same arguments."""

    def __init__(
        self,
        *,
        radius: int = 1,
        ignore_class: int | None = 255,
        from_logits: bool = True,
        name: str = "border_detection",
    ):
        super().__init__(border_detection, name, ignore_class, None, from_logits, radius=radius)
        del self.options["class_weights"]
