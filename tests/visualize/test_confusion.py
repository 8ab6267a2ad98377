"""A confusion matrix as a picture."""

import numpy as np
import pytest

from kseg.visualize import confusion_picture


def test_confusion_picture_is_dark_where_the_pixels_went():
    picture = confusion_picture([[10, 0], [0, 0]], ["road", "sky"], cell=40)
    assert picture.dtype == np.uint8
    x, y = picture.shape[1] - 14 - 80, picture.shape[0] - 14 - 80  # the margin is as wide as the letters are high
    assert picture[y + 3, x + 3].tolist() == [8, 48, 107]  # 100 %
    assert picture[y + 3, x + 43].tolist() == [255, 255, 255]  # 0 %
    assert picture[y + 43, x + 3].tolist() == [225, 225, 225]  # absent
    with pytest.raises(ValueError, match=r"3 classes need a confusion matrix \(3, 3\)"):
        confusion_picture(np.zeros((2, 2)), ["a", "b", "c"])


@pytest.mark.parametrize("classes", [["a"], ["a", "b"], ["a rather long name", "b"]])
def test_no_text_touches_the_edge(classes):
    picture = confusion_picture(np.eye(len(classes)), classes)
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 255).all()
