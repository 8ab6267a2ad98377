"""Cross-entropy with weights around borders."""

import math
from typing import Any

import keras
from keras import ops

from kseg.losses.cross_entropy import pixel_cross_entropy
from kseg.losses.loss import SegmentationLoss
from kseg.losses.targets import mean, read_labels, read_sample_weight


def boundary_weighted(
    y_true: Any,
    y_pred: Any,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalizer: str = "weights",
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy with U-Net's weights around borders: 1 + w0 exp(-d^2 / (2 sigma^2)) times the class weight.

    d is the distance in pixels to the nearest pixel that has a neighbour of another class; farther than 3 sigma counts
    as infinite. U-Net measures to the two nearest objects, which labels of classes do not tell apart: where objects are
    known, give `kseg.losses.border_weights` to `fit` as `sample_weight` instead.

    Args:
        y_true: see `cross_entropy`; borders lie between the largest entries of soft labels.
        y_pred: see `cross_entropy`.
        w0: what a pixel at a border weighs more than one far away.
        sigma: how fast that falls off, pixels.
        ignore_class: see `cross_entropy`; void makes no border.
        class_weights: see `cross_entropy`.
        from_logits: see `cross_entropy`.
        label_smoothing: see `cross_entropy`.
        normalizer: see `cross_entropy`; `"weights"` divides by the sum of the border weights too.
        sample_weight: see `cross_entropy`.

    Returns:
        A float32 scalar, >= 0; `nan` if a label is neither a class nor `ignore_class`.

    Raises:
        ValueError: see `cross_entropy`.

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


def _borders(label: Any, valid: Any) -> Any:
    """Where a pixel and one beside, above or below it have different classes: bool `(N, H, W)`."""
    found = ops.zeros_like(valid)
    for axis in (1, 2):
        ahead = _shifted(label, axis, 1, 0) != label
        ahead = ahead & valid & _shifted(valid, axis, 1, False)
        found = found | ahead | _shifted(ahead, axis, -1, False)
    return found


def _shifted(x: Any, axis: int, by: int, fill: Any) -> Any:
    """What lies `by` places ahead along an axis, `fill` beyond the edge."""
    padding = [[0, 0]] * 3
    padding[axis] = [max(-by, 0), max(by, 0)]
    size = ops.shape(x)[axis]
    padded = ops.pad(ops.cast(x, "float32"), padding, constant_values=float(fill))
    window = [slice(None)] * 3
    window[axis] = slice(max(by, 0), max(by, 0) + size)
    return ops.cast(padded[tuple(window)], x.dtype)


def _squared_distance(marked: Any, radius: int) -> Any:
    """Squared Euclidean distance to the nearest marked pixel, exact within a radius: columns first, then rows."""
    far = 1e6
    squared = ops.where(marked, 0.0, far)
    for axis in (1, 2):
        ways = [_shifted(squared, axis, by, far) + by**2 for by in range(-radius, radius + 1)]
        squared = ops.min(ops.stack(ways), axis=0)
    return squared


@keras.saving.register_keras_serializable(package="kseg")
class BoundaryWeighted(SegmentationLoss):
    """`boundary_weighted` for `compile`."""

    function = staticmethod(boundary_weighted)
