"""Right, wrong and void."""

import numpy as np
import pytest

from kseg.visualize import error_map
from kseg.visualize.errors import RIGHT, WRONG

LABEL = np.array([[0, 1, 255, 2], [255, 1, 0, 0]])
FOUND = np.array([[0, 2, 0, 2], [255, 1, 1, 0]])


def test_every_pixel_is_right_wrong_or_void():
    right, wrong, void = list(RIGHT), list(WRONG), [0, 0, 0]
    picture = error_map(LABEL, FOUND[..., None], shares=False)
    assert picture.tolist() == [[right, wrong, void, right], [void, right, wrong, right]]
    picture = error_map(LABEL, FOUND, ignore_class=None, shares=False)
    assert picture.tolist() == [[right, wrong, wrong, right], [right, right, wrong, right]]


def test_the_image_is_visible_below_the_colors():
    image = np.full((2, 4, 3), 200)
    picture = error_map(LABEL, FOUND, image=image, opacity=0.5, shares=False)
    assert picture[0, 0].tolist() == [(value + 200) // 2 for value in RIGHT]
    assert picture[0, 1] == pytest.approx([200 + 0.75 * (value - 200) for value in WRONG], abs=1)
    assert picture[0, 2].tolist() == [100, 100, 100]


def test_right_pixels_are_gray_and_wrong_ones_show_the_predicted_class():
    palette = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    assert len(set(RIGHT)) == 1 < len(set(WRONG))
    picture = error_map(LABEL, FOUND, palette=palette, shares=False)
    assert picture[0, 1].tolist() == list(palette[2]) and picture[1, 2].tolist() == list(palette[1])
    assert (picture[LABEL == FOUND][:2] == RIGHT).all() and (picture[LABEL == 255] == 0).all()
    legend = error_map(LABEL, FOUND, palette=palette, classes=["a", "b", "c"])[2:].reshape(-1, 3).tolist()
    assert [list(color) in legend for color in palette] == [False, True, True]
    with pytest.raises(ValueError, match="3 classes need as many colors; the palette has 2"):
        error_map(LABEL, FOUND, palette=palette[:2], classes=["a", "b", "c"])


def test_a_legend_is_below():
    picture = error_map(LABEL, FOUND)
    below = {tuple(color) for color in picture[2:].reshape(-1, 3).tolist()}
    assert {RIGHT, WRONG, (0, 0, 0)} <= below


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"the label is \(2, 4\) pixels, the prediction \(4, 2\)"):
        error_map(LABEL, FOUND.T)
    with pytest.raises(ValueError, match=r"the image is \(3, 3\) pixels, its label \(2, 4\)"):
        error_map(LABEL, FOUND, image=np.zeros((3, 3)))
