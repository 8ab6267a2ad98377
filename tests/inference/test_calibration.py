"""Which part of an image sets the ranges of int8."""

import numpy as np
import pytest

from kseg.inference.calibration import SIDE, fitted


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_center_of_a_large_image_is_used_and_a_small_one_is_padded(channels):
    image = np.broadcast_to(np.arange(10).reshape(10, 1, *[1] * len(channels)), (10, 7, *channels))
    assert np.unique(fitted(image, (4, 7))).tolist() == [3, 4, 5, 6]
    padded = fitted(image, (12, 9))
    assert padded.shape[:2] == (12, 9) and (padded[10:] == 9).all()
    assert fitted(np.zeros((8, SIDE + 5, *channels)), (None, None)).shape[:2] == (8, SIDE)
