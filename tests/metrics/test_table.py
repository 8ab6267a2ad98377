"""The table of classes against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_recall_fscore_support

from kseg.metrics import per_class


def test_every_column_equals_scikit_learn():
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 3, (2, 500))
    table = per_class(confusion_matrix(true, found), ["a", "b", "c"])
    precision, recall, f1, support = precision_recall_fscore_support(true, found)
    for name, expected in {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "share": support / 500,
        "iou": jaccard_score(true, found, average=None),
        "pixel_accuracy": [accuracy_score(true == index, found == index) for index in range(3)],
    }.items():
        assert table[name].tolist() == pytest.approx(list(expected)), name
    assert table.index.tolist() == ["a", "b", "c"]


def test_a_wrong_number_of_names_is_refused():
    with pytest.raises(ValueError, match="2 class names for a confusion matrix of 3 classes"):
        per_class(np.eye(3), ["a", "b"])
