"""SegNet: sizes, parameters, and the variants of its decoder."""

import keras
import numpy as np
import pytest

from kseg import zoo
from tests.reference.pooling import max_unpool

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def test_poolings_round_up(without_memory):
    encoder = zoo.segnet(11, encoder_weights=None, input_shape=(360, 480, 3)).get_layer("encoder")
    sizes = [encoder.get_layer(f"pool{level}").output[0].shape[1:3] for level in range(1, 6)]
    assert sizes == [(180, 240), (90, 120), (45, 60), (23, 30), (12, 15)]


@pytest.mark.parametrize("unpooling", ["max", "nearest", "bed_of_nails", "transpose", "bilinear"])
def test_every_unpooling_returns_to_the_size_that_was_pooled(unpooling, tmp_path):
    model = zoo.segnet_basic(3, unpooling=unpooling, filters=4)
    image = np.random.default_rng(0).integers(0, 256, (1, 45, 61, 3)).astype("uint8")
    logits = model.predict_on_batch(image)
    assert logits.shape == (1, 45, 61, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(image), logits, atol=1e-5)


@pytest.mark.parametrize("unpooling", ["max", "bed_of_nails"])
def test_unpooling_equals_the_reference(unpooling):
    """Each 2x2 window gets one value: at the position of the maximum, or in the corner."""
    model = zoo.segnet_basic(3, unpooling=unpooling, filters=4)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3)).astype("uint8")
    encoder = model.get_layer("encoder")
    pooled, argmax = encoder.get_layer("pool4").output
    tensors = keras.Model(encoder.input, [pooled, argmax]).predict_on_batch(image)
    values, positions = (tensor[0] for tensor in tensors)
    found = keras.Model(model.input, model.get_layer("unpool_4").output).predict_on_batch(image)[0]
    positions = positions if unpooling == "max" else np.zeros_like(positions)
    np.testing.assert_array_equal(found, max_unpool(values, positions, 2, 4, 6))
