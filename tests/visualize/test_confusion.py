"""A confusion matrix as a picture."""

import numpy as np
import pytest

from kseg.visualize import confusion_picture


def test_a_cell_is_dark_where_the_pixels_went_and_gray_in_the_row_of_an_absent_class():
    picture = confusion_picture([[10, 0], [0, 0]], ["road", "sky"], cell=40)
    dark = np.argwhere((picture == (8, 48, 107)).all(axis=-1))  # 100 %
    y, x = dark.min(axis=0) + 3
    assert np.ptp(dark, axis=0) == pytest.approx((38, 38), abs=2)
    assert picture[y, x + 40].tolist() == [255, 255, 255]  # 0 %
    assert picture[y + 40, x].tolist() == picture[y + 40, x + 40].tolist() == [225, 225, 225]


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"3 classes need a confusion matrix \(3, 3\)"):
        confusion_picture(np.zeros((2, 2)), ["a", "b", "c"])
