"""Names beside their colors."""

import numpy as np
import pytest

from kseg.visualize import confusion_picture, default_palette, grid, legend, text

RED, BLUE = (200, 0, 50), (0, 0, 255)


def test_legend_shows_every_color_and_some_text():
    picture = legend(["road", "a much longer name"], [RED, BLUE])
    colors = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    assert {RED, BLUE, (255, 255, 255), (32, 32, 32)} <= colors
    wide = legend(["road", "a much longer name"], [RED, BLUE], columns=2)
    assert wide.shape[0] < picture.shape[0]
    assert wide.shape[1] > picture.shape[1]
    with pytest.raises(ValueError, match="2 classes need as many colors; the palette has 1"):
        legend(["a", "b"], [RED])


@pytest.mark.parametrize("width", [20, 300, 900])
def test_a_legend_takes_the_width_it_is_given(width):
    names = [f"class {index}" for index in range(21)]
    one_column = legend(names, default_palette(21), columns=1)
    picture = legend(names, default_palette(21), width=width)
    assert picture.shape[1] <= max(width, one_column.shape[1])
    assert (picture.shape[0] < one_column.shape[0]) == (width > 200)
    shown = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert set(default_palette(21)) <= shown


@pytest.mark.parametrize("count", [1, 5, 21, 150])
def test_a_legend_arranges_itself_wider_than_high_and_loses_no_class(count):
    names = [f"class {'x' * (index % 7)}" for index in range(count)]
    picture = legend(names, default_palette(count))
    assert picture.shape[0] < picture.shape[1] <= 3 * picture.shape[0] or count == 1
    assert set(default_palette(count)) <= {tuple(color) for color in picture.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("width", [None, 100])
def test_a_legend_of_nothing_is_white(width):
    assert np.unique(legend([], [], width=width)).tolist() == [255]


def test_letters_that_pillow_lacks_are_drawn_in_a_font_that_has_them():
    """Without a font for them, all would be the same empty box."""
    letters = ["ф", "д", "α", "ω", "é", "ł"]
    pictures = [legend([letter], [RED]).tobytes() for letter in letters]
    assert len(set(pictures)) == len(letters)


@pytest.mark.parametrize("name", ["道路", "도로", "ф"])
def test_a_name_that_no_font_can_draw_is_its_id(name, monkeypatch):
    monkeypatch.setattr(text, "_candidates", lambda letters: iter(()))
    monkeypatch.setattr(text, "_place", text._place.__wrapped__)  # not cached
    with pytest.warns(UserWarning, match=f"no font has the letters of '{name}'"):
        picture = legend(["road", name], [RED, BLUE])
    np.testing.assert_array_equal(picture, legend(["road", "class 1"], [RED, BLUE]))
    with pytest.warns(UserWarning, match="no font has the letters"):
        titled = grid([[picture]], titles=[f"a {name[0]}"])
    np.testing.assert_array_equal(titled, grid([[picture]], titles=["a ?"]))
    with pytest.warns(UserWarning, match="no font has the letters"):
        chart = confusion_picture(np.eye(2), ["road", name])
    np.testing.assert_array_equal(chart, confusion_picture(np.eye(2), ["road", "class 1"]))
