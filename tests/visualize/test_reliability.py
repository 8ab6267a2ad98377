"""Reliability diagrams."""

import numpy as np
import pytest

from kseg.metrics import calibration
from kseg.visualize import reliability_diagram
from kseg.visualize.reliability import ACCURACY, SHARE, SURE, UNSURE

SIDE = 200


def drawn(result):
    """Pixels of each colour, those of the legend apart."""
    picture = reliability_diagram(result, side=SIDE)[: SIDE + 40]
    return [int((picture == np.array(color)).all(axis=-1).sum()) for color in (ACCURACY, SURE, UNSURE)]


def result(confidence, accuracy):
    return {"ece": 0.1, "confidence": confidence, "accuracy": accuracy, "pixels": np.ones(len(confidence), int)}


def test_bars_are_as_high_as_the_accuracy():
    blue, orange, light = drawn(result([0.8, 0.3], [0.6, 0.1]))
    assert 0 <= SIDE**2 * (0.6 + 0.1) / 2 - blue <= 3 * SIDE / 2  # the diagonal crosses the first
    assert orange == SIDE**2 * (0.2 + 0.2) / 2
    assert light == 0


def test_too_little_confidence_has_another_colour_than_too_much():
    blue, orange, light = drawn(result([0.6, 0.1], [0.8, 0.1]))
    assert 0 <= SIDE**2 * (0.6 + 0.1) / 2 - blue <= 3 * SIDE / 2
    assert orange == 0
    assert light == SIDE**2 * 0.2 / 2


def test_it_takes_what_calibration_returns():
    label = np.zeros((10, 10), int)
    probabilities = np.full((10, 10, 2), (0.8, 0.2))
    picture = reliability_diagram(calibration([(label, probabilities)]))
    assert (picture == np.array(SHARE)).all(axis=-1).any()
    nothing = calibration([(np.full((2, 2), 255), np.ones((2, 2, 3)) / 3)])
    assert reliability_diagram(nothing).shape == picture.shape


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 confidences, 3 accuracies, 2 numbers of pixels"):
        reliability_diagram(result([0.5, 1.0], [0.1, 0.2, 0.3]))
