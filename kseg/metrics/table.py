"""The scores of each class as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kseg.classes import check_names
from kseg.metrics.confusion import scores

if TYPE_CHECKING:
    import pandas as pd


def per_class(confusion_matrix: Any, classes: Sequence[str]) -> "pd.DataFrame":
    """Computes the scores of each class as a pandas table.

    Args:
        confusion_matrix: Integers `(C, C)`, for example `SegmentationScores.confusion_matrix()`; rows are the true
            classes.
        classes: Names in the order of the class ids.

    Returns:
        One row per class: `share` of the labeled pixels, `precision`, `recall`, `f1`, `iou`, and `pixel_accuracy`,
        (TP + TN) / all; NaN for 0 / 0.

    Raises:
        ModuleNotFoundError: If pandas is not installed.
        ValueError: If the matrix is not square, or the number of names is not the number of classes, or a name
            is empty or occurs twice.

    Example:
        Pixel accuracy hides that a pole, which covers 1 % of the pixels, is never found. IoU and recall show it:

        >>> table = per_class([[99, 0], [1, 0]], ["road", "pole"])
        >>> print(table.loc["pole", ["pixel_accuracy", "iou", "recall"]].tolist())
        [0.99, 0.0, 0.0]
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise ModuleNotFoundError("per_class needs pandas: pip install 'kseg[train]'") from None
    found = scores(confusion_matrix)
    matrix = np.asarray(confusion_matrix, "float64")
    if len(classes) != len(matrix):
        raise ValueError(f"{len(classes)} class names for a confusion matrix of {len(matrix)} classes")
    check_names(classes, "per_class")
    hit, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = 2 * hit / (true + predicted)
    columns = {
        "share": true / max(matrix.sum(), 1),
        "precision": found["precision"],
        "recall": found["recall"],
        "f1": f1,
        "iou": found["iou"],
        "pixel_accuracy": found["accuracy"],
    }
    return pd.DataFrame(columns, index=pd.Index(list(classes), name="class"))
