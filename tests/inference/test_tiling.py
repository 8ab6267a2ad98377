"""Tiles against the whole image."""

import keras
import numpy as np
import pytest

from kseg.inference import Predictor, tiling


def small_net():
    """A strided net of a receptive field of 15 pixels: 7 to each side at most."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image / 255)
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = keras.layers.UpSampling2D(2)(x)
    return keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(x))


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")


@pytest.mark.parametrize("size", [(64, 64), (200, 96), (130, 258), (40, 300)])
def test_tiles_with_a_margin_give_the_whole_image(size):
    model = small_net()
    whole = Predictor(model).probabilities(image(*size))
    tiled = Predictor(model, tile=64, overlap=32, margin=8).probabilities(image(*size))
    np.testing.assert_allclose(tiled, whole[: size[0], : size[1]], atol=1e-5)
    np.testing.assert_array_equal(Predictor(model, tile=64, overlap=32, margin=8)(image(*size)), whole.argmax(-1))


@pytest.mark.parametrize("side", [1, 31, 64, 65, 96, 127, 1000])
@pytest.mark.parametrize("overlap", [0, 32])
def test_tiles_cover_a_side_and_overlap(side, overlap):
    places = tiling.starts(side, 64, overlap)
    assert places[0] == 0 and not any(place % 32 for place in places)
    ends = [min(place + 64, side) for place in places]
    assert ends[-1] == side
    assert all(end - following >= overlap for end, following in zip(ends, places[1:], strict=False))


def test_a_constant_stays_one_without_seams():
    found = list(tiling.blend(lambda x: np.full((*x.shape[:3], 2), 0.25), image(150, 201), tile=64, overlap=32))
    assert [row for row, _ in found] == sorted(row for row, _ in found)
    whole = np.concatenate([rows for _, rows in found])
    assert whole.shape == (150, 201, 2)
    np.testing.assert_allclose(whole, 0.25, rtol=1e-6)


def test_no_more_than_a_row_of_tiles_is_held():
    """20,000 pixels wide, 512 of tile, 12 classes: 0.5 GB for sums and weights; here the bands' sizes are measured."""
    for _, rows in tiling.blend(lambda x: np.ones((*x.shape[:3], 3)), image(1000, 64), tile=64, overlap=32):
        assert len(rows) <= 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 100}, "multiple of 32, got 100"),
        ({"tile": 64, "overlap": 40}, "at most 32"),
        ({"margin": 90}, "twice"),
    ],
)
def test_sizes_that_contradict_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        list(tiling.blend(lambda x: x, image(9, 9), **options))
