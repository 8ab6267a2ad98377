"""Colours that differ, for colour-blind people too."""

import colorsys

import pytest

from kseg import data
from kseg.visualize import OKABE_ITO, default_palette
from tests.reference import vision

VISIONS = [None, *vision.DICHROMATS]


def hue_wheel(n):
    return [tuple(round(255 * v) for v in colorsys.hsv_to_rgb(i / n, 1, 1)) for i in range(n)]


def smallest_distance(colors):
    return min(vision.smallest_distance(colors, dichromat) for dichromat in VISIONS)


@pytest.mark.parametrize("n", [300, 1000, 5000])
def test_palette_colours_differ_and_none_is_void(n):
    palette = default_palette(n)
    assert len(palette) == len(set(palette)) == n
    assert all(0 <= value <= 255 and isinstance(value, int) for color in palette for value in color)
    assert (0, 0, 0) not in palette


def test_a_longer_palette_begins_with_the_shorter_ones():
    palette = default_palette(5000)
    assert palette[:8] == OKABE_ITO
    assert all(default_palette(n) == palette[:n] for n in (0, 1, 8, 9, 50, 1000))


def test_the_first_colours_stay_what_they_are():
    # Label maps saved with them should keep their look.
    assert default_palette(12)[8:] == ((102, 51, 17), (68, 68, 85), (153, 255, 136), (153, 34, 238))


@pytest.mark.parametrize(("n", "distance"), [(8, 7), (12, 7), (21, 7), (32, 7), (64, 5.9)])
def test_colour_blind_people_tell_the_colours_apart(n, distance):
    """By a simulation, cones and code that took no part in the choice."""
    ours = smallest_distance(default_palette(n))
    assert ours > distance
    assert ours > smallest_distance(hue_wheel(n))


def test_beyond_the_first_eight_only_grey_and_purple_are_close():
    # They are Okabe and Ito's, and a deuteranope's 7; without the grey, 32 colours lie 9.9 apart.
    colors = [color for color in default_palette(32) if color != (153, 153, 153)]
    assert smallest_distance(colors) > 9.9


def test_normal_vision_gets_colours_farther_apart_than_a_hue_wheels():
    for n, distance in ((8, 26), (21, 18), (32, 13)):
        assert vision.smallest_distance(default_palette(n), None) > distance
        assert vision.smallest_distance(hue_wheel(n), None) < distance


def test_a_data_set_takes_the_default_palette():
    assert data.Dataset("own", ["a"] * 12).palette == default_palette(12)
