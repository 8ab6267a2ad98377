import keras
import numpy as np
import pytest

from kseg.layers import ConvNormAct
from tests.reference.convolution import batch_norm, conv2d


def randomize(layer):
    rng = np.random.default_rng(5)
    layer.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape) * rng.choice([-1, 1], w.shape[-1:]) ** (w.ndim > 1)
            for w in layer.get_weights()
        ]
    )


@pytest.mark.parametrize(
    ("size", "strides", "rate", "normalization"),
    [(3, 1, 1, True), (3, 2, 1, True), (3, 1, 2, False), (5, 3, 1, False)],
)
def test_the_layer_equals_the_reference(size, strides, rate, normalization):
    x = np.random.default_rng(6).normal(size=(1, 5, 7, 3)).astype("float32")
    layer = ConvNormAct(4, size, strides=strides, dilation_rate=rate, normalization=normalization)
    layer.build(x.shape)
    randomize(layer)
    if normalization:
        kernel, *norm = layer.get_weights()
        truth = batch_norm(conv2d(x[0], kernel, strides, rate), *norm)
    else:
        truth = conv2d(x[0], layer.get_weights()[0], strides, rate, bias=layer.get_weights()[1])
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(y[0], np.maximum(truth, 0), atol=1e-4)
    assert layer.compute_output_shape(x.shape) == y.shape


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, 9 * 3 * 8 + 4 * 8),
        ({"normalization": False}, 9 * 3 * 8 + 8),
        ({"use_bias": True}, 9 * 3 * 8 + 8 + 4 * 8),
        ({"normalization": False, "use_bias": False}, 9 * 3 * 8),
    ],
)
def test_there_is_a_bias_only_without_normalization(options, weights):
    layer = ConvNormAct(8, **options)
    layer.build((None, None, None, 3))
    assert layer.count_params() == weights


def test_the_moving_statistics_converge_within_50_steps():
    layer = ConvNormAct(1, 1, activation=None)
    layer.build((None, None, None, 1))
    layer.conv.set_weights([np.ones((1, 1, 1, 1))])
    x = np.random.default_rng(7).normal(3, 1, (4, 8, 8, 1)).astype("float32")
    for _ in range(50):
        layer(x, training=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(x)), keras.ops.convert_to_numpy(layer(x, training=True)), atol=0.05
    )


def test_valid_padding_reduces_the_size():
    assert ConvNormAct(2, padding="valid").compute_output_shape((None, 9, None, 3)) == (None, 7, None, 2)
