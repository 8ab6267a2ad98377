"""The search for a CRF's parameters."""

import keras
import numpy as np
import pytest

from kseg import data
from kseg.inference import Predictor, dense_crf, tune_crf
from tests.data.folders import Pairs


@pytest.fixture
def halves():
    """Images with a dark left and a light right part, and labels of the parts."""
    pairs = []
    for index in range(3):
        label = np.zeros((24, 32), "uint8")
        label[:, 10 + 4 * index :] = 1
        image = np.repeat(label[..., None] * 180, 3, axis=-1)
        label[0] = 255
        pairs.append((image, label))
    return Pairs(pairs, ["dark", "light"])


@pytest.fixture
def noisy():
    """A predictor with random errors in a minority of the pixels."""

    class Noisy(Predictor):
        def __init__(self):
            self.crf = None

        def probabilities(self, source):
            rng = np.random.default_rng(int(source.sum()))
            light = (source[..., :1] > 90) * 1.2 + rng.normal(size=(*source.shape[:2], 1)) - 0.6
            return (1 / (1 + np.exp(-light))).astype("float32")

    return Noisy()


def test_tune_crf_finds_parameters_that_remove_noise(noisy, halves):
    grid = {"appearance": (0, 10), "smoothness": (0, 3), "appearance_rgb": (1, 30)}
    found = tune_crf(noisy, halves, grid=grid)
    assert found["miou_before"] < 0.6 < 0.95 < found["miou"]
    assert found["options"]["appearance"] == 10
    image, label = halves[0]
    p = noisy.probabilities(image)
    refined = dense_crf(image, np.concatenate([1 - p, p], -1), **found["options"]).argmax(-1)
    assert (refined == label)[1:].mean() > 0.97


def test_parameters_are_searched_one_after_the_other(noisy, halves):
    asked = []

    def refine(image, p, **options):
        asked.append(options)
        return p if options.get("a") != 2 or options.get("b") != 5 else 1 - p

    found = tune_crf(noisy, halves, count=1, grid={"a": (1, 2), "b": (5, 6)}, refine=refine)
    assert asked == [{"a": 1}, {"a": 2}, {"a": 1, "b": 5}, {"a": 1, "b": 6}]
    assert found["options"] == {"a": 1, "b": 5}
    assert found["miou"] == found["miou_before"]


def test_an_empty_search_is_refused():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
    streets = data.streets("val", count=1)
    with pytest.raises(ValueError, match="the grid has 0 parameters"):
        tune_crf(model, streets, grid={})
    with pytest.raises(ValueError, match="count=0"):
        tune_crf(model, streets, count=0)
    with pytest.raises(ValueError, match="has a CRF already"):
        tune_crf(Predictor(model, crf=True), streets)
