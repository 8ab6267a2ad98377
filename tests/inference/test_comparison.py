"""`compare` against counts in a loop over pixels."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from kseg.inference import compare
from kseg.metrics import scores
from tests.data.folders import Pairs


@pytest.fixture
def drawn():
    """Small images whose first two channels are the label maps of two models; their own label maps contain void."""
    pairs = []
    for index, shares in enumerate(((0.2, 0.1), (0.5, 0.9), (0.0, 0.3))):
        rng = np.random.default_rng(index)
        label = rng.integers(0, 4, (9, 14))
        pixels = [label * 40]
        for wrong in shares:
            pixels.insert(0, np.where(rng.random(label.shape) < wrong, rng.integers(0, 3, label.shape), label % 3))
        pairs.append((np.stack(pixels, axis=-1).astype("uint8"), np.where(label == 3, 255, label).astype("uint8")))
    return Pairs(pairs)


MODELS = [lambda image: image[..., 0], lambda image: image[..., 1]]


def test_counts_equal_those_of_a_loop_over_pixels(drawn):
    found = compare(*MODELS, drawn)
    outcomes, matrices = [0, 0, 0], np.zeros((2, 3, 3), int)
    for image, label in drawn.pairs:
        maps = [label, image[..., 0], image[..., 1]]
        labeled = label != 255
        matrices += [confusion_matrix(label[labeled], ids[labeled], labels=range(3)) for ids in maps[1:]]
        for truth, a, b in zip(*(np.ravel(ids).tolist() for ids in maps), strict=True):
            if truth != 255 and a != b:
                outcomes[0 if a == truth else 1 if b == truth else 2] += 1
    assert found.outcomes.tolist() == outcomes
    np.testing.assert_array_equal([found.matrix_a, found.matrix_b], matrices)
    assert found.disagreement == sum(outcomes) / matrices[0].sum()
    assert scores(found.matrix_b)["pixel_accuracy"] > scores(found.matrix_a)["pixel_accuracy"]


def test_the_images_with_the_greatest_disagreement_are_kept_and_shown(drawn):
    shares = [each.share for each in compare(*MODELS, drawn, count=9).most]
    assert shares == sorted(shares, reverse=True) and len(shares) == 3
    found = compare(*MODELS, drawn, count=1)
    assert [each.index for each in found.most] == [1]
    image, label = drawn[1]
    np.testing.assert_array_equal(found.most[0].a, image[..., 0])
    picture = found.picture(drawn)
    assert picture.dtype == np.uint8
    only_a = (image[..., 0] == label) & (image[..., 1] != label)
    blue = (picture[..., 2].astype(int) > picture[..., 0] + 100) & (picture[..., 1] > 80)
    assert blue.sum() >= only_a.sum() > 0


def test_equal_models_have_nothing_to_show(drawn):
    found = compare(MODELS[0], MODELS[0], drawn)
    assert (found.disagreement, found.most) == (0.0, [])
    with pytest.raises(ValueError, match="the models agree on every labeled pixel"):
        found.picture(drawn)
