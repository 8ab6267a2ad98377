"""Pictures: sizes, colours and what is drawn where."""

import numpy as np
import pytest

from kseg.visualize import colorize, confusion_picture, default_palette, grid, legend, overlay, rgb

RED, BLUE = (200, 0, 50), (0, 0, 255)


def test_palette_colours_differ_and_none_is_void():
    palette = default_palette(300)
    assert len(palette) == len(set(palette)) == 300
    assert all(0 <= value <= 255 for color in palette for value in color)
    assert (0, 0, 0) not in palette
    assert all(default_palette(n) == palette[:n] for n in (0, 1, 8, 9, 50))


def test_palette_neighbours_are_far_apart():
    # Okabe and Ito's colours: at least 50 apart in some channel.
    palette = np.array(default_palette(8))
    distance = np.abs(palette[:, None] - palette[None]).max(-1) + 255 * np.eye(8)
    assert distance.min() >= 50


@pytest.mark.parametrize("dtype", ["uint8", "int64", "int8", "float32"])
def test_colorize_gives_each_class_its_colour_and_black_to_others(dtype):
    mask = np.array([[0, 1], [100, 1]], dtype)
    assert colorize(mask, [RED, BLUE]).tolist() == [[[*RED], [*BLUE]], [[0, 0, 0], [*BLUE]]]
    assert colorize(mask[..., None], [RED, BLUE], void=(9, 9, 9))[1, 0].tolist() == [9, 9, 9]
    assert colorize(np.array([[-1, 255]]), [RED]).tolist() == [[[0, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize(("opacity", "expected"), [(0, [100, 100, 100]), (0.5, [150, 50, 75]), (1, [200, 0, 50])])
def test_overlay_blends(opacity, expected):
    image = np.full((1, 1, 3), 100, "uint8")
    assert overlay(image, np.zeros((1, 1), "uint8"), [RED], opacity=opacity)[0, 0].tolist() == expected


def test_any_number_of_channels_is_shown():
    gray = np.full((2, 3), 7.4)
    for image in (gray, gray[..., None], np.dstack([gray] * 2), np.dstack([gray] * 5)):
        assert rgb(image).tolist() == np.full((2, 3, 3), 7).tolist()
    assert rgb(np.array([[-3.0, 300.0]]))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ValueError, match=r"got \(1, 2, 3, 4\)"):
        rgb(np.zeros((1, 2, 3, 4)))


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"the image is \(2, 2\) pixels, its mask \(2, 3\)"):
        overlay(np.zeros((2, 2, 3)), np.zeros((2, 3)), [RED])
    with pytest.raises(ValueError, match=r"a mask has shape \(H, W\)"):
        colorize(np.zeros((2, 2, 3)), [RED])


def test_legend_shows_every_colour_and_some_text():
    picture = legend(["road", "a much longer name"], [RED, BLUE])
    colors = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    assert {RED, BLUE, (255, 255, 255), (32, 32, 32)} <= colors
    wide = legend(["road", "a much longer name"], [RED, BLUE], columns=2)
    assert wide.shape[0] < picture.shape[0]
    assert wide.shape[1] > picture.shape[1]
    with pytest.raises(ValueError, match="2 classes need as many colours; the palette has 1"):
        legend(["a", "b"], [RED])


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


def test_grid_resizes_without_new_colours():
    mask = colorize(np.random.default_rng(0).integers(0, 2, (16, 20)), [RED, BLUE])
    picture = grid([[mask]], cell_width=13, gap=0)
    assert picture.shape == (10, 13, 3)
    assert {tuple(c) for c in picture.reshape(-1, 3).tolist()} <= {RED, BLUE}


def test_confusion_picture_is_dark_where_the_pixels_went():
    picture = confusion_picture([[10, 0], [0, 0]], ["road", "sky"], cell=40)
    assert picture.dtype == np.uint8
    x, y = picture.shape[1] - 14 - 80, picture.shape[0] - 14 - 80  # the margin is as wide as the letters are high
    assert picture[y + 3, x + 3].tolist() == [8, 48, 107]  # 100 %
    assert picture[y + 3, x + 43].tolist() == [255, 255, 255]  # 0 %
    assert picture[y + 43, x + 3].tolist() == [225, 225, 225]  # absent
    with pytest.raises(ValueError, match=r"3 classes need a confusion matrix \(3, 3\)"):
        confusion_picture(np.zeros((2, 2)), ["a", "b", "c"])
