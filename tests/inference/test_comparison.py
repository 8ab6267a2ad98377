"""`compare` against counts in a loop over pixels."""

import numpy as np
import pytest

from kseg import data
from kseg.inference import compare
from kseg.metrics import scores


class Drawn(data.Dataset):
    """Small images whose first two channels are the label maps of two models; their own label maps contain void."""

    def __init__(self):
        super().__init__("drawn", ["a", "b", "c"])

    def __len__(self):
        return 3

    def read(self, index):
        rng = np.random.default_rng(index)
        label = rng.integers(0, 4, (9, 14))
        pixels = [label * 40]
        for wrong in ([0.2, 0.5, 0.0][index], [0.1, 0.9, 0.3][index]):
            pixels.insert(0, np.where(rng.random(label.shape) < wrong, rng.integers(0, 3, label.shape), label % 3))
        return np.stack(pixels, axis=-1).astype("uint8"), np.where(label == 3, 255, label).astype("uint8")


MODELS = [lambda image: image[..., 0], lambda image: image[..., 1]]


def test_counts_equal_those_of_a_loop_over_pixels():
    found = compare(*MODELS, Drawn())
    outcomes, matrices = [0, 0, 0], np.zeros((2, 3, 3), int)
    for index in range(3):
        image, label = Drawn()[index]
        maps = [label, image[..., 0], image[..., 1]]
        for truth, a, b in zip(*(np.ravel(ids).tolist() for ids in maps), strict=True):
            if truth != 255:
                matrices[0, truth, a] += 1
                matrices[1, truth, b] += 1
                if a != b:
                    outcomes[0 if a == truth else 1 if b == truth else 2] += 1
    assert found.outcomes.tolist() == outcomes
    np.testing.assert_array_equal([found.matrix_a, found.matrix_b], matrices)
    assert found.disagreement == sum(outcomes) / matrices[0].sum()
    assert scores(found.matrix_b)["pixel_accuracy"] > scores(found.matrix_a)["pixel_accuracy"]


def test_the_images_with_the_greatest_disagreement_are_kept_and_shown():
    shares = [each.share for each in compare(*MODELS, Drawn(), count=9).most]
    assert shares == sorted(shares, reverse=True) and len(shares) == 3
    found = compare(*MODELS, Drawn(), count=1)
    assert [each.index for each in found.most] == [1]
    image, label = Drawn()[1]
    np.testing.assert_array_equal(found.most[0].a, image[..., 0])
    picture = found.picture(Drawn())
    assert picture.dtype == np.uint8
    only_a = (image[..., 0] == label) & (image[..., 1] != label)
    blue = (picture[..., 2].astype(int) > picture[..., 0] + 100) & (picture[..., 1] > 80)
    assert blue.sum() >= only_a.sum() > 0


def test_equal_models_have_nothing_to_show():
    found = compare(MODELS[0], MODELS[0], Drawn())
    assert (found.disagreement, found.most) == (0.0, [])
    with pytest.raises(ValueError, match="the models agree on every labeled pixel"):
        found.picture(Drawn())
