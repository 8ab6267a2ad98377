"""Label maps over images, and the lines between classes."""

import numpy as np
import pytest

from kseg.visualize import borders, default_palette, overlay

RED, BLUE = (200, 0, 50), (0, 0, 255)


def blobs(shape=(40, 50), classes=4, seed=0):
    """A label map of rectangles, some of them void."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, "uint8")
    for _ in range(20):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[y : y + rng.integers(1, 15), x : x + rng.integers(1, 15)] = rng.choice([*range(classes), 255])
    return mask


@pytest.mark.parametrize(("opacity", "expected"), [(0, [100, 100, 100]), (0.5, [150, 50, 75]), (1, [200, 0, 50])])
def test_overlay_blends(opacity, expected):
    image = np.full((1, 1, 3), 100, "uint8")
    assert overlay(image, np.zeros((1, 1), "uint8"), [RED], opacity=opacity)[0, 0].tolist() == expected


def test_sizes_that_differ_and_odd_opacities_are_refused():
    with pytest.raises(ValueError, match=r"the image is \(2, 2\) pixels, its mask \(2, 3\)"):
        overlay(np.zeros((2, 2, 3)), np.zeros((2, 3)), [RED])
    with pytest.raises(ValueError, match=r"opacity must be from 0 .* to 1 .*; got 50"):
        overlay(np.zeros((2, 2, 3)), np.zeros((2, 2)), [RED], opacity=50)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
def test_lines_are_as_wide_as_asked(width):
    mask = np.zeros((30, 40), int)
    mask[:, 20:] = 1
    assert (borders(mask, width).sum(axis=1) == width).all()
    assert (borders(mask.T, width).sum(axis=0) == width).all()
    assert borders(mask, width)[:, 19:21].sum(axis=1).tolist() == [min(width, 2)] * 30


def test_a_line_of_width_two_marks_every_pixel_beside_another_class():
    mask = blobs()
    expected = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(*mask.shape):
        near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        expected[y, x] = any(mask[p] != mask[y, x] for p in near if p[0] in range(40) and p[1] in range(50))
    assert np.array_equal(borders(mask, 2), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 3)])
def test_lines_wider_than_the_image_stay_inside(shape):
    mask = np.arange(shape[0] * shape[1]).reshape(shape)
    assert borders(mask, 9).shape == shape
    assert borders(mask, 9).all() == (mask.size > 1)
    assert not borders(mask, 0).any()
    assert not borders(np.zeros(shape), 9).any()


def test_contours_alone_do_not_change_the_rest_of_the_image():
    mask, palette = blobs(), default_palette(4)
    image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3)).astype("uint8")
    picture = overlay(image, mask[..., None], palette, opacity=0, contours=3)
    line = borders(mask, 3) & (mask < 4)
    assert np.array_equal(picture[~line], image[~line])  # void has no color to draw
    assert np.array_equal(picture[line], np.array(palette)[mask[line]])


def test_a_legend_is_below_the_overlay():
    names = ["road", "sky", "car", "a tree"]
    for shape in ((20, 20), (200, 300), (2000, 3000)):
        mask, image = (
            np.indices(shape)[1].astype("uint8") % 5,
            np.full(shape, 9, "uint8"),
        )
        mask[mask == 4] = 255
        plain = overlay(image, mask, default_palette(4))
        full = overlay(image, mask, default_palette(4), classes=names)
        left = (full.shape[1] - shape[1]) // 2
        assert np.array_equal(full[: shape[0], left : left + shape[1]], plain)
        assert full.shape[1] <= max(shape[1], 150)
        below = full[shape[0] :]
        assert all((below == color).all(axis=-1).any() for color in default_palette(4))
    with pytest.raises(ValueError, match="4 classes need as many colors; the palette has 1"):
        overlay(image, mask, [RED], classes=names)


def test_a_legend_lists_only_the_classes_that_occur():
    mask, image = np.full((40, 300), 2, "uint8"), np.zeros((40, 300), "uint8")
    picture = overlay(image, mask, default_palette(4), classes=["road", "sky", "car", "tree"])
    below = {tuple(color) for color in picture[40:].reshape(-1, 3).tolist()}
    assert [color in below for color in default_palette(4)] == [False, False, True, False]
    assert overlay(image, mask + 253, default_palette(4), classes=["road", "sky", "car", "tree"]).shape == (40, 300, 3)


def test_by_default_the_image_shows_through_and_lines_separate_the_classes():
    mask = np.zeros((20, 30), "uint8")
    mask[:, 15:] = 1
    picture = overlay(np.full((20, 30, 3), 100, "uint8"), mask, [RED, BLUE])
    assert picture[5, 5].tolist() == [135, 65, 82] and picture[5, 25].tolist() == [65, 65, 154]
    line = (picture == RED).all(axis=-1) | (picture == BLUE).all(axis=-1)
    assert np.array_equal(line, borders(mask, 1))
