"""Reliability diagrams."""

import numpy as np
import pytest

from kseg.metrics import calibration
from kseg.visualize import reliability_diagram
from kseg.visualize.reliability import ACCURACY, OVERCONFIDENT, SHARE, UNDERCONFIDENT

SIDE = 200


def drawn(confidence, accuracy):
    """The shares of the diagram that each color fills; the legend, which has the same colors, is cut off."""
    result = {"ece": 0.1, "confidence": confidence, "accuracy": accuracy, "pixels": np.ones(len(confidence), int)}
    picture = reliability_diagram(result, side=SIDE)[: SIDE + 40]
    colors = (ACCURACY, OVERCONFIDENT, UNDERCONFIDENT)
    return [(picture == np.array(color)).all(axis=-1).sum() / SIDE**2 for color in colors]


@pytest.mark.parametrize(
    ("confidence", "accuracy", "expected"),
    [
        ([0.8, 0.3], [0.6, 0.1], (0.35, 0.2, 0)),
        ([0.6, 0.1], [0.8, 0.1], (0.35, 0, 0.1)),
    ],
)
def test_bars_are_as_high_as_accuracy_and_confidence(confidence, accuracy, expected):
    found = drawn(confidence, accuracy)
    assert found == pytest.approx(expected, abs=0.03)  # the diagonal and the frame cover some pixels
    assert [share == 0 for share in found] == [share == 0 for share in expected]


def test_the_result_of_calibration_can_be_drawn():
    label = np.zeros((10, 10), int)
    probabilities = np.full((10, 10, 2), (0.8, 0.2))
    picture = reliability_diagram(calibration([(label, probabilities)]))
    assert (picture == np.array(SHARE)).all(axis=-1).any()
    reliability_diagram(calibration([(np.full((2, 2), 255), np.ones((2, 2, 3)) / 3)]))  # void alone


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 confidences, 3 accuracies, 2 numbers of pixels"):
        reliability_diagram({"ece": 0, "confidence": [0.5, 1], "accuracy": [0.1, 0.2, 0.3], "pixels": [1, 1]})
