"""The comparison of FCN with its authors' nets, on arrays."""

import numpy as np
import pytest

from benchmarks.experiments import caffe


def test_logits_are_compared_by_their_distance_from_the_border():
    expected = np.zeros((7, 9, 2), "float32")
    expected[..., 0] = 2
    found = expected.copy()
    found[1, 4] = 0, 1  # another label, one pixel from the border
    row = caffe.compare(expected, found, inside=2)
    assert row == {
        "labels_differ": pytest.approx(1 / 63),
        "labels_differ_inside": 0,
        "largest": 1,
        "largest_inside": 0,
        "equal_from": 2,
    }
    assert np.isnan(caffe.compare(expected, expected + 1, inside=2)["equal_from"])


def test_the_image_lies_inside_its_margin():
    image = np.ones((2, 3, 3), "float32")
    canvas = caffe.extended(image, np.array([5, 6, 7]), 3, 1)
    np.testing.assert_array_equal(canvas[3:5, 3:6], image)
    assert canvas.shape == (6, 7, 3) and (canvas[:3] == [5, 6, 7]).all() and (canvas[:, 6:] == [5, 6, 7]).all()


def test_an_image_without_pixels_inside_is_refused():
    with pytest.raises(ValueError, match=r"size must be at least 513 513, got 512 960$"):
        next(caffe.measure(size=(512, 960)))
