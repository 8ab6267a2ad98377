"""Scores of a segmentation, computed from one confusion matrix over the whole split.

A mean of the scores of batches or images would depend on the batch size and the order.
"""

from typing import Any

import numpy as np

from kseg.classes import class_ids, listing


def scores(confusion_matrix: Any) -> dict[str, Any]:
    """Computes scores from a confusion matrix, in NumPy and float64.

    n_ij is the number of pixels of class i predicted as class j, t_i = sum_j n_ij the number of pixels of class i, and
    p_j = sum_i n_ij the number of pixels predicted as class j. A class that is absent from labels and predictions is
    left out of the means. A class that is only predicted has IoU 0.

    Args:
        confusion_matrix: Integers `(C, C)`; rows are the true classes.

    Returns:
        Floats from 0 to 1, which are 0 if there are no pixels:

        - `miou`: mean of the IoUs;
        - `pixel_accuracy`: sum n_ii / sum t_i;
        - `mean_accuracy`: mean recall of the classes in the labels;
        - `frequency_weighted_iou`: sum t_i IoU_i / sum t_i;

        and arrays `(C,)`, NaN for 0 / 0:

        - `iou`: n_ii / (t_i + p_i - n_ii);
        - `recall`: n_ii / t_i, `precision`: n_ii / p_i;
        - `accuracy`: (TP + TN) / all pixels. It is close to 1 for every rare class: a pole that covers 1 % of the
          pixels and is never predicted has accuracy 0.99, but recall 0.

    Raises:
        ValueError: If the matrix is not square.

    Example:
        >>> from kseg.metrics import scores
        >>> s = scores([[3, 1], [1, 1]])                      # IoU 3/5 and 1/3
        >>> print(f"{s['miou']:.4f} {s['pixel_accuracy']:.4f}")
        0.4667 0.6667
    """
    matrix = np.asarray(confusion_matrix, dtype="float64")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a confusion matrix must be square, (C, C), got shape {matrix.shape}")
    hit, true, predicted, total = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        iou = hit / (true + predicted - hit)
        recall = hit / true
        precision = hit / predicted
        accuracy = (total - true - predicted + 2 * hit) / total

    def mean(values: np.ndarray) -> float:
        present = values[~np.isnan(values)]
        return float(present.mean()) if present.size else 0.0

    return {
        "miou": mean(iou),
        "pixel_accuracy": float(hit.sum() / max(total, 1)),
        "mean_accuracy": mean(recall),
        "frequency_weighted_iou": float((true * np.nan_to_num(iou)).sum() / max(total, 1)),
        "iou": iou,
        "recall": recall,
        "precision": precision,
        "accuracy": accuracy,
    }


def confusion_matrix(label: Any, prediction: Any, num_classes: int, *, ignore_class: int | None = 255) -> np.ndarray:
    """Counts pairs of true and predicted classes in NumPy. Matrices of several images can be added.

    Args:
        label: Integers of any shape.
        prediction: Predicted classes, integers of the same shape.
        num_classes: Number of classes; 2 for a binary task with labels 0 and 1.
        ignore_class: Label of void pixels, which do not count. None if there are none.

    Returns:
        int64 `(num_classes, num_classes)`; rows are the true classes.

    Raises:
        ValueError: If the shapes differ, a label is neither a class nor void, a prediction is not a class, or either
            contains fractions, such as probabilities.

    Example:
        >>> from kseg.metrics import confusion_matrix
        >>> confusion_matrix(np.array([0, 1, 1, 255]), np.array([0, 0, 1, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    label, prediction = class_ids(label), class_ids(prediction, "prediction")
    if label.shape != prediction.shape:
        raise ValueError(f"label {label.shape} and prediction {prediction.shape} must have the same shape")
    if num_classes <= 256 and label.dtype == prediction.dtype == np.uint8:  # counts all pairs of bytes
        pairs = label.astype("uint16") * np.uint16(256) + prediction
        counts = np.bincount(pairs.ravel(), minlength=2**16).reshape(256, 256)
        if ignore_class is not None and 0 <= ignore_class < 256:
            counts[ignore_class] = 0
        outside = counts.copy()
        outside[:num_classes, :num_classes] = 0
        if not outside.any():
            return counts[:num_classes, :num_classes].astype("int64")
    kept = np.ones(label.shape, bool) if ignore_class is None else label != ignore_class
    label, prediction = label[kept].astype("int64"), prediction[kept].astype("int64")
    for name, values in (("labels", label), ("predictions", prediction)):
        strays, counts = np.unique(values[(values < 0) | (values >= num_classes)], return_counts=True)
        if len(strays):
            found = listing(dict(zip(strays, counts, strict=True)))
            raise ValueError(f"{name} {found} are outside the classes 0 to {num_classes - 1}: correct or ignore them")
    return np.bincount(label * num_classes + prediction, minlength=num_classes**2).reshape(num_classes, num_classes)
