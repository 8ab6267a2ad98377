"""Predictions in tiles against predictions of the whole image."""

import functools
import tracemalloc

import keras
import numpy as np
import pytest

from kseg.inference import Predictor, tiling

pytestmark = pytest.mark.usefixtures("numpy_initializers")


@functools.cache
def small_net():
    """A strided network with a receptive field of 15 pixels, at most 7 to each side."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image / 255)
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = keras.layers.UpSampling2D(2)(x)
    return keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(x))


SMALL = {"tile": 64, "overlap": 32}


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


@pytest.mark.parametrize("margin", [0, 12])
def test_a_constant_has_no_seams_and_every_pixel_is_yielded_once(margin):
    whole = np.zeros((150, 201, 2), "float32")
    for row, column, found in tiling.blend(
        lambda x: np.full((*x.shape[:3], 2), 0.25), image(150, 201), margin=margin, **SMALL
    ):
        whole[row : row + found.shape[0], column : column + found.shape[1]] += found
    np.testing.assert_allclose(whole, 0.25, rtol=1e-6)


@pytest.mark.parametrize("size", [(500, 700), (512, 512), (65, 1000), (40, 30)])
def test_tiles_have_at_most_four_shapes(size):
    """JAX compiles a network for each shape."""
    shapes = set()
    for _ in tiling.blend(lambda x: shapes.add(x.shape) or np.zeros((*x.shape[:3], 2)), image(*size), **SMALL):
        pass
    assert len(shapes) <= 4


def test_memory_holds_only_the_rows_that_tiles_share(tmp_path):
    """Labels of 1.6 MB; at most 64 + 32 shared rows of 2048 * 12 floats, 9.4 MB; five tiles of 256 * 256 * 12 floats.

    Sums of the whole image would need 75 MB. In the same way, an image of 20,000 x 20,000 needs 2.0 GB.
    """
    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 3))
    predictor = Predictor(keras.Model(pixels, keras.layers.Conv2D(12, 1)(pixels)), tile=256, overlap=64)
    mapped = np.memmap(tmp_path / "pixels", "uint8", "w+", shape=(768, 2048, 3))
    mapped[:, 500:] = 100
    predictor(mapped[:300, :300])  # compiles
    tracemalloc.start()
    label = predictor(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(label[:, 500:].reshape(-1)) != set(label[:, :500].reshape(-1))
    assert peak < 1.6e6 + 9.4e6 + 5 * 3.1e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 100}, "multiple of 32, got 100"),
        ({"tile": 64, "overlap": 40}, "at most 32"),
        ({"tile": 512, "margin": 90}, "twice"),
    ],
)
def test_contradicting_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        list(tiling.blend(lambda x: x, image(9, 9), **options))
