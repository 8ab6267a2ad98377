"""Axes, lines and bars."""

import numpy as np
import pytest

from kseg.visualize.chart import Chart, marks, texts

BLUE = (0, 0, 255)


@pytest.mark.parametrize(
    ("span", "whole", "expected"),
    [
        ((0, 1), False, "0.0 0.2 0.4 0.6 0.8 1.0"),
        ((0.31, 0.74), False, "0.4 0.5 0.6 0.7"),
        ((1, 3), True, "1 2 3"),
        ((0.5, 100), True, "20 40 60 80 100"),
        ((-0.02, 0.03), False, "-0.02 -0.01 0.00 0.01 0.02 0.03"),
        ((0, 5e6), False, "0 1e+06 2e+06 3e+06 4e+06 5e+06"),
        ((1000.1, 1000.2), False, "1000.10 1000.12 1000.14 1000.16 1000.18 1000.20"),
    ],
)
def test_axes_are_marked_at_round_numbers(span, whole, expected):
    assert texts(marks(span, whole=whole)) == expected.split()


@pytest.mark.parametrize("span", [(0, 1e-9), (-3, 1e9), (5, 5.001), (1e5, 1.1e5), (2.5, 3.6)])
def test_there_are_neither_too_many_marks_nor_too_few(span):
    found = marks(span)
    assert 3 <= len(found) <= 9
    assert len(set(texts(found))) == len(found)
    assert span[0] - 1e-12 <= found[0] and found[-1] <= span[1] * (1 + 1e-9)


def area(chart):
    """The chart without what is around it."""
    picture = chart.picture()
    frame = (picture == 32).all(axis=-1)
    rows, columns = (np.flatnonzero(frame.sum(axis=axis) > size * 0.9) for axis, size in ((1, 200), (0, 200)))
    return picture[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]


def test_values_are_drawn_where_they_belong():
    chart = Chart((0, 10), (0, 1), size=(200, 200))
    chart.bar((2, 4), (0.5, 0.25), BLUE)
    blue = (area(chart) == BLUE).all(axis=-1)
    expected = np.zeros((200, 200), bool)
    expected[100:150, 40:80] = True
    assert np.array_equal(blue, expected)


def test_a_line_passes_through_its_points():
    chart = Chart((0, 10), (0, 1), size=(200, 200))
    chart.line([(1, 0.5), (9, 0.5)], BLUE, width=4)
    blue = (area(chart) == BLUE).all(axis=-1)
    assert set(np.flatnonzero(blue.any(axis=1))) <= set(range(97, 104))
    assert blue[100].sum() == pytest.approx(160, abs=2)


def test_a_single_point_and_a_constant_can_be_drawn():
    chart = Chart((3, 3), (0, 0), size=(200, 200), whole=True)
    chart.line([(3, 0)], BLUE)
    blue = np.argwhere((area(chart) == BLUE).all(axis=-1))
    assert blue.mean(axis=0) == pytest.approx([99.5, 99.5], abs=1)


def test_no_text_touches_the_edge():
    chart = Chart((0, 123456), (-1e-5, 1e-4), title="title", x_label="across", y_label="up and down", size=(200, 150))
    picture = chart.picture()
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 255).all()
