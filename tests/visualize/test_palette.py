"""Colors that differ, for color-blind people too."""

import colorsys
import itertools

import pytest

from kseg import data
from kseg.visualize import OKABE_ITO, default_palette
from tests.reference import vision
from tests.reference.palette import search

VISIONS = [None, *vision.DICHROMATS]


def hue_wheel(n):
    return [tuple(round(255 * v) for v in colorsys.hsv_to_rgb(i / n, 1, 1)) for i in range(n)]


def smallest_distance(colors):
    return min(vision.smallest_distance(colors, dichromat) for dichromat in VISIONS)


def test_the_table_is_what_the_search_finds():
    assert default_palette(256) == tuple(itertools.islice(search(OKABE_ITO), 256))


@pytest.mark.parametrize("n", [0, 1, 8, 9, 256, 300, 5000])
def test_colors_differ_none_is_void_and_a_longer_palette_begins_with_the_shorter_ones(n):
    palette = default_palette(n)
    assert len(palette) == len(set(palette)) == n
    assert all(0 <= value <= 255 and isinstance(value, int) for color in palette for value in color)
    assert (0, 0, 0) not in palette
    assert default_palette(6000)[:n] == palette


@pytest.mark.parametrize(("n", "distance"), [(8, 7), (12, 7), (21, 7), (32, 7), (64, 5.9)])
def test_color_blind_people_can_distinguish_the_colors(n, distance):
    """Measured with another simulation than the search used."""
    ours = smallest_distance(default_palette(n))
    assert ours > distance
    assert ours > smallest_distance(hue_wheel(n))


def test_beyond_the_first_eight_only_gray_and_purple_are_close():
    # These two are Okabe and Ito's, 7 apart for deuteranopes; without the gray, 32 colors are 9.9 apart.
    colors = [color for color in default_palette(32) if color != (153, 153, 153)]
    assert smallest_distance(colors) > 9.9


def test_normal_vision_gets_colors_farther_apart_than_a_hue_wheels():
    for n, distance in ((8, 26), (21, 18), (32, 13)):
        assert vision.smallest_distance(default_palette(n), None) > distance
        assert vision.smallest_distance(hue_wheel(n), None) < distance


def test_a_data_set_takes_the_default_palette():
    assert data.Dataset("own", list("abcdefghijkl")).palette == default_palette(12)
