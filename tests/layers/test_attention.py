import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from kseg.engines import KerasRun
from kseg.layers import (
    ChannelSpatialExcitation,
    PositionAttention,
    SpatialReductionAttention,
    WindowAttention,
    self_attention,
)
from tests.reference.convolution import conv2d

X = np.random.default_rng(0).normal(size=(2, 3, 4, 32)).astype("float32")


def test_position_attention_equals_the_reference():
    layer = PositionAttention(5)
    found = keras.ops.convert_to_numpy(layer(X))
    for image, y in zip(X, found, strict=True):
        query, key, value = (
            conv2d(image, kernel, bias=bias).reshape(12, -1)
            for kernel, bias in (part.get_weights() for part in (layer.query, layer.key, layer.value))
        )
        attended = (softmax(query @ key.T, axis=1) @ value).reshape(3, 4, 32)
        kernel, bias = layer.output_conv.get_weights()
        np.testing.assert_allclose(y, conv2d(image + attended, kernel, bias=bias), atol=1e-4)


def test_scse_equals_the_reference():
    layer = ChannelSpatialExcitation()
    found = keras.ops.convert_to_numpy(layer(X))
    (squeeze, first), (excite, second) = layer.channel.squeeze.get_weights(), layer.channel.excite.get_weights()
    kernel, bias = layer.spatial.get_weights()
    assert squeeze.shape == (1, 1, 32, 2)
    hidden = np.maximum(X.mean((1, 2)) @ squeeze[0, 0] + first, 0)
    channels = expit(hidden @ excite[0, 0] + second)[:, None, None]
    np.testing.assert_allclose(found, X * channels + X * expit(X @ kernel[0, 0] + bias), atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        SpatialReductionAttention(2, reduction=2),
        WindowAttention(2, window=4),
        WindowAttention(2, window=4, shift=2),
        WindowAttention(2, window=7, shift=3, always_shift=False),
    ],
)
def test_attention_in_parts_and_of_unknown_sizes_equals_attention_at_once(layer, monkeypatch):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 8)).astype("float32")
    layer.build(x.shape)
    if isinstance(layer, WindowAttention):
        layer.position_bias.assign(np.random.default_rng(1).normal(size=layer.position_bias.shape))
    whole = keras.ops.convert_to_numpy(layer(x))
    monkeypatch.setattr(self_attention, "SCORES", 300)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), whole, atol=1e-6)
    image = keras.Input((None, None, 8))
    run = KerasRun(keras.Model(image, layer(image)))  # its graph on TensorFlow is for any size
    np.testing.assert_allclose(run(x), whole, atol=1e-6)
