"""Scores near borders against brute force."""

import numpy as np
import pytest

from kseg.metrics import boundary_f1, scores, trimap_scores
from tests.reference.borders import border


def pair(seed):
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 3, (4, 5)), np.ones((4, 4), int))
    prediction = np.roll(label, rng.integers(0, 3), axis=1)
    label[2:5, 3:9] = 255
    return label, prediction


def met(of, by, reach):
    return np.mean([(np.hypot(*(by - place).T) <= reach).any() for place in of])


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.1])
def test_boundary_f1_equals_brute_force(tolerance):
    pairs = [pair(seed) for seed in range(3)]
    found = boundary_f1(pairs, 4, tolerance=tolerance)
    for index in range(3):
        each = []
        for label, prediction in pairs:
            true, predicted = (border(np.where(label == 255, 255, x), index) for x in (label, prediction))
            if len(true) and len(predicted):
                reach = tolerance * np.hypot(*label.shape)
                precision, recall = met(predicted, true, reach), met(true, predicted, reach)
                each.append(2 * precision * recall / max(precision + recall, 1e-12))
            elif len(true) or len(predicted):
                each.append(0)
        assert found[index] == pytest.approx(np.mean(each))
    assert np.isnan(found[3])


def test_a_wide_band_is_the_whole_image_and_a_narrow_one_its_borders():
    pairs = [pair(seed) for seed in range(3)]
    found = trimap_scores(pairs, 3, widths=(0, 1000))
    matrix = np.zeros((3, 3), int)
    for label, prediction in pairs:
        np.add.at(matrix, (label[label != 255], prediction[label != 255]), 1)
    assert found[1000]["miou"] == pytest.approx(scores(matrix)["miou"])
    narrow = np.zeros((3, 3), int)
    for label, prediction in pairs:
        for index in range(3):
            for row, column in border(label, index):
                narrow[index, prediction[row, column]] += 1
    assert found[0]["pixel_accuracy"] == pytest.approx(scores(narrow)["pixel_accuracy"])


def test_different_sizes_are_refused():
    with pytest.raises(ValueError, match="must be \\(H, W\\) of the same size"):
        boundary_f1([(np.zeros((2, 3)), np.zeros((3, 2)))], 2)
