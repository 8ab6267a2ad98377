"""Scores near the borders of classes, to which mIoU is insensitive: boundary F1 and trimap scores."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kseg.classes import class_ids
from kseg.metrics.confusion import confusion_matrix, scores


def boundary_f1(
    pairs: Iterable[tuple[Any, Any]], num_classes: int, *, tolerance: float = 0.0075, ignore_class: int = 255
) -> np.ndarray:
    """Computes the boundary F1 of each class: the fraction of its border that matches within a tolerance.

    The border of a class consists of its pixels with a neighbor (left, right, above, below) of another class; void and
    the edge of the image make no border. Precision is the fraction of the predicted border near the true border, recall
    the fraction of the true border near the predicted border. Their harmonic mean is computed for each image and
    averaged over the images in which the class has a border in label or prediction.

    Args:
        pairs: `(label, prediction)` of each image, integers `(H, W)`.
        num_classes: Number of classes; 2 for a binary task with labels 0 and 1.
        tolerance: Largest distance that counts as a match, as a fraction of the diagonal of the image.
        ignore_class: Label of void pixels, whose predictions do not count.

    Returns:
        float64 `(num_classes,)`, 0 to 1; NaN for a class without borders.

    Raises:
        ModuleNotFoundError: If SciPy is not installed.
        ValueError: If label and prediction differ in size or contain fractions, such as probabilities.

    Reference:
        Csurka, Larlus, Perronnin: What is a good evaluation measure for semantic segmentation?, BMVC 2013

    Example:
        >>> label = np.repeat([[0], [1]], 4, axis=1)
        >>> boundary_f1([(label, label)], 3).tolist()
        [1.0, 1.0, nan]
    """
    distance_to = _distance_transform()
    total, count = np.zeros(num_classes), np.zeros(num_classes)
    for label, prediction in pairs:
        label, prediction = _masked(label, prediction, ignore_class)
        reach = tolerance * np.hypot(*label.shape)
        for index in range(num_classes):
            true, found = (_border(x, index, ignore_class) for x in (label, prediction))
            if not true.any() and not found.any():
                continue
            count[index] += 1
            if true.any() and found.any():
                precision = (distance_to(~true)[found] <= reach).mean()
                recall = (distance_to(~found)[true] <= reach).mean()
                total[index] += 2 * precision * recall / max(precision + recall, 1e-12)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def trimap_scores(
    pairs: Iterable[tuple[Any, Any]],
    num_classes: int,
    *,
    widths: Sequence[float] = (1, 2, 5, 10, 20),
    ignore_class: int = 255,
) -> dict[float, dict[str, Any]]:
    """Computes `scores` of the pixels near the borders of the labels, for several widths.

    Args:
        pairs: `(label, prediction)` of each image, integers `(H, W)`.
        num_classes: Number of classes; 2 for a binary task with labels 0 and 1.
        widths: Half-widths of the band: largest distances to the nearest border pixel, in pixels.
        ignore_class: Label of void pixels, which make no border.

    Returns:
        `{width: scores}`, each from one confusion matrix over all images.

    Raises:
        ModuleNotFoundError: If SciPy is not installed.
        ValueError: If label and prediction differ in size or contain fractions, such as probabilities.

    Reference:
        Kohli, Ladicky, Torr: Robust Higher Order Potentials for Enforcing Label Consistency, 2009; Chen et al.,
        DeepLab, https://arxiv.org/abs/1606.00915

    Example:
        >>> label, prediction = np.array([[0, 0, 0, 1, 1]]), np.array([[1, 0, 0, 1, 1]])
        >>> found = trimap_scores([(label, prediction)], 2, widths=(1, 9))
        >>> {width: of["pixel_accuracy"] for width, of in found.items()}
        {1: 1.0, 9: 0.8}
    """
    distance_to = _distance_transform()
    matrices = {width: np.zeros((num_classes, num_classes), "int64") for width in widths}
    for label, prediction in pairs:
        label, prediction = _masked(label, prediction, ignore_class)
        border = np.zeros(label.shape, bool)
        for index in np.unique(label[label != ignore_class]):
            border |= _border(label, index, ignore_class)
        distance = distance_to(~border) if border.any() else np.full(label.shape, np.inf)
        for width, matrix in matrices.items():
            near = distance <= width
            matrix += confusion_matrix(label[near], prediction[near], num_classes, ignore_class=ignore_class)
    return {width: scores(matrix) for width, matrix in matrices.items()}


def _border(classes: np.ndarray, index: int, ignore_class: int) -> Any:
    mask, other = classes == index, (classes != index) & (classes != ignore_class)
    near = np.zeros_like(mask)
    near[1:] |= other[:-1]
    near[:-1] |= other[1:]
    near[:, 1:] |= other[:, :-1]
    near[:, :-1] |= other[:, 1:]
    return mask & near


def _masked(label: Any, prediction: Any, ignore_class: int) -> tuple[np.ndarray, np.ndarray]:
    label, prediction = class_ids(label), class_ids(prediction, "prediction")
    if label.shape != prediction.shape or label.ndim != 2:
        raise ValueError(f"label {label.shape} and prediction {prediction.shape} must be (H, W) of the same size")
    return label, np.where(label == ignore_class, ignore_class, prediction)


def _distance_transform() -> Any:
    try:
        from scipy.ndimage import distance_transform_edt
    except ModuleNotFoundError:
        raise ModuleNotFoundError("scores near borders need SciPy: pip install 'kseg[train]'") from None
    return distance_transform_edt
