"""Pictures in rows and columns."""

import numpy as np
import pytest

from kseg.visualize import colorize, grid, legend

RED, BLUE = (200, 0, 50), (0, 0, 255)


def test_grid_holds_every_picture_unchanged():
    pictures = [[np.full((20, 30, 3), 10 * r + c + 1, "uint8") for c in range(3)] for r in range(2)]
    picture = grid(pictures, gap=5)
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * 20 + 3 * 5, 3 * 30 + 4 * 5, 3)
    for r in range(2):
        for c in range(3):
            y, x = 5 + 25 * r, 5 + 35 * c
            assert np.array_equal(picture[y : y + 20, x : x + 30], pictures[r][c])


def test_grid_makes_room_for_titles_names_and_footer():
    cells = [[np.zeros((20, 30)), np.zeros((10, 30))], [np.zeros((20, 30))]]
    plain = grid(cells)
    full = grid(cells, titles=["image", "label"], names=["unet", "fcn8"], footer=legend(["a"], [RED]))
    assert full.shape[0] > plain.shape[0]
    assert full.shape[1] > plain.shape[1]
    assert (full == np.array(RED)).all(-1).any()
    with pytest.raises(ValueError, match="3 titles and 0 names for 2 columns and 2 rows"):
        grid(cells, titles=["a", "b", "c"])


def test_grid_resizes_without_new_colors():
    mask = colorize(np.random.default_rng(0).integers(0, 2, (16, 20)), [RED, BLUE])
    picture = grid([[mask]], cell_width=13, gap=0)
    assert picture.shape == (10, 13, 3)
    assert {tuple(c) for c in picture.reshape(-1, 3).tolist()} <= {RED, BLUE}


def test_titles_grow_with_the_pictures():
    heights = [grid([[np.zeros((10, width))]], titles=["image"]).shape[0] for width in (20, 400, 3000)]
    assert heights[0] == heights[1] < heights[2]
    assert heights[2] - 10 >= 3000 // 50


def test_pictures_are_centered_above_a_wide_footer():
    picture = grid([[np.zeros((4, 10, 3))]], footer=np.full((2, 50, 3), 200), gap=0)
    assert picture.shape == (6, 50, 3)
    assert (picture[:4, 20:30] == 0).all()
    assert (picture[:4, :20] == 255).all()


def test_a_footer_may_be_drawn_for_the_width_of_the_pictures():
    seen = []
    picture = grid(
        [[np.zeros((20, 30, 3))] * 2], footer=lambda width: seen.append(width) or np.zeros((5, width)), gap=10
    )
    assert seen == [70] and picture.shape == (20 + 2 * 10 + 5 + 10, 90, 3)
