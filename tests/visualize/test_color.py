"""Images and label maps as RGB."""

import numpy as np
import pytest

from kseg.visualize import colorize, rgb
from kseg.visualize.color import dim

RED, BLUE = (200, 0, 50), (0, 0, 255)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "int8", "float32"])
def test_colorize_gives_each_class_its_color_and_black_to_others(dtype):
    mask = np.array([[0, 1], [100, 1]], dtype)
    assert colorize(mask, [RED, BLUE]).tolist() == [[[*RED], [*BLUE]], [[0, 0, 0], [*BLUE]]]
    assert colorize(mask[..., None], [RED, BLUE], void=(9, 9, 9))[1, 0].tolist() == [9, 9, 9]
    assert colorize(np.array([[-1, 255]]), [RED]).tolist() == [[[0, 0, 0], [0, 0, 0]]]


def test_any_number_of_channels_is_shown():
    gray = np.full((2, 3), 7.4)
    for image in (gray, gray[..., None], np.dstack([gray] * 2), np.dstack([gray] * 5)):
        assert rgb(image).tolist() == np.full((2, 3, 3), 7).tolist()
    assert rgb(np.array([[-3.0, 300.0]]))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ValueError, match=r"got \(1, 2, 3, 4\)"):
        rgb(np.zeros((1, 2, 3, 4)))


def test_a_mask_of_colors_is_refused():
    with pytest.raises(ValueError, match=r"a mask must have shape \(H, W\); got \(2, 2, 3\)"):
        colorize(np.zeros((2, 2, 3)), [RED])


def test_a_dimmed_image_is_gray_and_40_percent_as_bright():
    assert dim(np.full((1, 1, 3), 200)).tolist() == [[[80, 80, 80]]]
    red = dim(np.array([[[255, 0, 0]]]))
    assert len(set(red.ravel().tolist())) == 1
