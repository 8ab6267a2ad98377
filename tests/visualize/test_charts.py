"""Matplotlib figures as arrays."""

import sys

import matplotlib
import numpy as np
import pytest

from kseg.visualize import confusion_picture, curves, reliability_diagram

ROWS = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]
CALIBRATION = {"ece": 0.1, "confidence": [0.3, 0.8], "accuracy": [0.2, 0.9], "pixels": [3, 5]}
LONG = "a rather long name"
PICTURES = {
    "curves": lambda: curves({LONG: ROWS}),
    "reliability": lambda: reliability_diagram(CALIBRATION),
    "confusion": lambda: confusion_picture([[5]], ["a"]),
    "confusion with long names": lambda: confusion_picture(np.eye(2), [LONG, "b"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_touches_the_edge(name):
    picture = PICTURES[name]()
    assert picture.dtype == np.uint8
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 255).all()


def test_settings_of_the_user_change_nothing_and_stay():
    expected = curves({"unet": ROWS})
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert np.array_equal(curves({"unet": ROWS}), expected)
        assert matplotlib.rcParams["font.size"] == 30


def test_a_name_with_dollar_signs_is_no_formula():
    assert not np.array_equal(curves({"$a$": ROWS}), curves({"a": ROWS}))
    curves({"$\\frac$": ROWS})


def test_pyplot_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    curves({"unet": ROWS})


def test_a_missing_matplotlib_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError, match=r"^charts need matplotlib \(.*\): pip install 'kseg\[train\]'$"):
        curves({"unet": ROWS})
