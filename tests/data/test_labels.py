"""Conversions of label maps."""

import numpy as np
import pytest
from sklearn.preprocessing import label_binarize

from kseg.data import labels
from kseg.losses import cross_entropy

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 1), (7, 7, 7)]


def sample():
    rng = np.random.default_rng(0)
    return np.where(rng.random((2, 11, 13)) < 0.2, 255, rng.integers(0, 4, (2, 11, 13))).astype("uint8")


def test_one_hot_is_scikit_learns_and_comes_back():
    label = sample()
    found = labels.one_hot(label, 4)
    expected = label_binarize(label.ravel(), classes=range(4)).reshape(found.shape)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(labels.from_one_hot(found), label)


def test_losses_read_one_hot_targets_as_the_ids():
    label = sample()
    logits = np.random.default_rng(1).normal(size=(*label.shape, 4)).astype("float32")
    ids, encoded = (float(cross_entropy(target, logits)) for target in (label, labels.one_hot(label, 4)))
    assert encoded == pytest.approx(ids, rel=1e-5)


def test_colors_come_back():
    (label, _) = sample()
    picture = labels.to_rgb(label, PALETTE, void=(1, 2, 3))
    for index, color in enumerate([*PALETTE, (1, 2, 3)]):
        assert ((picture == color).all(-1) == (label == (index if index < 4 else 255))).all()
    np.testing.assert_array_equal(labels.from_rgb(picture, PALETTE, ignore=[(1, 2, 3)]), label)


def test_classes_are_merged_and_renumbered():
    label = sample()
    found = labels.remap(label, {0: 3, 1: 0, 2: 0, 3: 255})
    for old, new in ((0, 3), (1, 0), (2, 0), (3, 255), (255, 255)):
        assert (found[label == old] == new).all()
    np.testing.assert_array_equal(labels.remap(label.astype("int64"), {i: i for i in range(4)}), label)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: labels.one_hot(np.array([0, 9, 9, 7]), 4), r"labels 7 \(1 pixels\), 9 \(2 pixels\) are outside"),
        (lambda: labels.one_hot(np.array([-1]), 4), r"labels -1 \(1 pixels\) are outside the classes 0 to 3"),
        (lambda: labels.to_rgb(np.array([4]), PALETTE), r"labels 4 \(1 pixels\) are outside the palette of 4 colors"),
        (lambda: labels.remap(np.array([0, 1]), {0: 1}), r"labels 1 \(1 pixels\) are outside the mapping"),
        (lambda: labels.remap(np.array([0]), {0: 256}), "new ids must be 0 to 255, got 256"),
        (lambda: labels.from_rgb(np.full((1, 2, 3), 9, "uint8"), PALETTE), r"\(9, 9, 9\) \(2 pixels\) are outside"),
        (
            lambda: labels.from_one_hot(np.full((1, 2, 3), 255, "uint8")),
            r"got 255 \(6 pixels\): convert colors by from_rgb",
        ),
        (lambda: labels.from_one_hot(np.array([0.5, np.nan])), r"scores must be numbers, got nan \(1 pixels\)"),
        (lambda: labels.from_rgb(np.zeros((1, 2), "uint8"), PALETTE), r"an RGB mask is uint8 \(H, W, 3\), got"),
        (lambda: labels.from_rgb(np.zeros((1, 2, 3), "uint8"), [(0, 0, 0)] * 300), "300 classes do not fit 8 bits"),
    ],
)
def test_invalid_labels_and_colors_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        function()


def test_an_empty_mask_has_no_labels():
    assert labels.from_rgb(np.zeros((0, 4, 3), "uint8"), [(0, 0, 0), (9, 9, 9)]).shape == (0, 4)
