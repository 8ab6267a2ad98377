"""Fully connected layers as convolutions."""

import keras
import numpy as np
import pytest

from kseg.encoders import Classifier


@pytest.fixture(scope="module")
def network():
    """A small classifier: 8 filters instead of 4096, on features of 7x7x3."""
    feature = keras.Input((7, 7, 3))
    x = keras.layers.Dense(8, activation="relu", name="fc1")(keras.layers.Flatten()(feature))
    x = keras.layers.Dense(8, activation="relu", name="fc2")(x)
    model = keras.Model(feature, x)
    for layer in (model.get_layer("fc1"), model.get_layer("fc2")):
        layer.bias.assign(np.arange(8) / 8)
    return model


@pytest.fixture
def classifier(network):
    def build(weights, include_top):
        assert weights == "imagenet" and include_top
        return network

    return Classifier(build, width=8)


def test_the_convolutions_compute_what_the_dense_layers_do(network, classifier):
    image = keras.Input((None, None, 3))
    fc6 = keras.layers.Conv2D(8, 7, activation="relu", name="fc6")
    fc7 = keras.layers.Conv2D(8, 1, activation="relu", name="fc7")
    model = keras.Model(image, fc7(fc6(image)))
    for layer, weights in zip((fc6, fc7), classifier.weights(), strict=True):
        layer.set_weights(weights)
    feature = np.random.default_rng(0).normal(size=(2, 7, 7, 3)).astype("float32")
    expected = network.predict_on_batch(feature)
    np.testing.assert_allclose(model.predict_on_batch(feature)[:, 0, 0], expected, atol=1e-5)


def test_decimation_keeps_every_third_position_and_every_fourth_filter(network, classifier):
    (fc6, fc6_bias), (fc7, fc7_bias) = classifier.weights(kernel_size=3, width=2)
    (first, _), (second, _) = (network.get_layer(name).get_weights() for name in ("fc1", "fc2"))
    assert fc6.shape == (3, 3, 3, 2) and fc7.shape == (1, 1, 2, 2)
    for i, j, channel, unit in np.ndindex(fc6.shape):
        assert fc6[i, j, channel, unit] == first[(3 * i * 7 + 3 * j) * 3 + channel, 4 * unit]
    np.testing.assert_array_equal(fc7[0, 0], [[second[0, 0], second[0, 4]], [second[4, 0], second[4, 4]]])
    np.testing.assert_array_equal([fc6_bias, fc7_bias], [[0, 0.5]] * 2)


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"kernel_size": 9}, {"width": 3}])
def test_unequal_distances_are_refused(classifier, options):
    with pytest.raises(ValueError, match="7x7x8 cannot be decimated to"):
        classifier.weights(**options)
