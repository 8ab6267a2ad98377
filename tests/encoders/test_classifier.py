"""Fully connected layers as convolutions, and the models that start from them."""

import dataclasses

import keras
import numpy as np
import pytest

from kseg import encoders, zoo

pytestmark = pytest.mark.usefixtures("numpy_initializers")


@pytest.fixture(scope="module")
def network(numpy_initializers):
    """A small classifier: 8 filters instead of 4096, on features of 7x7x512."""
    feature = keras.Input((7, 7, 512))
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

    return encoders.Classifier(build, width=8)


@pytest.fixture
def kernels(network, classifier, monkeypatch):
    """The kernels of the classifier, which the encoder VGG16 has during the test; its convolutions are random."""
    vgg16 = encoders.ENCODERS["vgg16"]
    build = lambda weights, **options: vgg16.build(weights=None, **options)  # noqa: E731
    monkeypatch.setitem(encoders.ENCODERS, "vgg16", dataclasses.replace(vgg16, build=build, classifier=classifier))
    fc6, fc7 = (network.get_layer(name).get_weights()[0] for name in ("fc1", "fc2"))
    return fc6.reshape(7, 7, 512, 8), fc7


def test_the_convolutions_compute_what_the_dense_layers_do(network, classifier):
    image = keras.Input((None, None, 512))
    fc6 = keras.layers.Conv2D(8, 7, activation="relu", name="fc6")
    fc7 = keras.layers.Conv2D(8, 1, activation="relu", name="fc7")
    model = keras.Model(image, fc7(fc6(image)))
    for layer, weights in zip((fc6, fc7), classifier.weights(), strict=True):
        layer.set_weights(weights)
    feature = np.random.default_rng(0).normal(size=(2, 7, 7, 512)).astype("float32")
    expected = network.predict_on_batch(feature)
    np.testing.assert_allclose(model.predict_on_batch(feature)[:, 0, 0], expected, atol=1e-5)


def test_decimation_keeps_every_third_position_and_every_fourth_filter(kernels, classifier):
    (fc6, fc6_bias), (fc7, fc7_bias) = classifier.weights(kernel_size=3, width=2)
    np.testing.assert_array_equal(fc6, kernels[0][[0, 3, 6]][:, [0, 3, 6]][..., [0, 4]])
    np.testing.assert_array_equal(fc7[0, 0], kernels[1][[0, 4]][:, [0, 4]])
    np.testing.assert_array_equal([fc6_bias, fc7_bias], [[0, 0.5]] * 2)


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"kernel_size": 9}, {"width": 3}])
def test_unequal_distances_are_refused(classifier, options):
    with pytest.raises(ValueError, match="7x7x8 cannot be decimated to"):
        classifier.weights(**options)


def test_fcn_starts_from_the_whole_classifier_and_its_scores_at_zero(kernels):
    model = zoo.fcn8(3)
    found = [model.get_layer(name).get_weights()[0] for name in ("fc6", "fc7")]
    np.testing.assert_array_equal(found[0], kernels[0])
    np.testing.assert_array_equal(found[1][0, 0], kernels[1])
    scores = [model.get_layer("score_32").conv, *(model.get_layer(f"fuse_{stride}").score for stride in (16, 8))]
    assert all(np.abs(score.get_weights()[0]).max() == 0 for score in scores)
    assert np.abs(zoo.fcn32(3, encoder_weights=None).get_layer("fc6").get_weights()[0] - kernels[0]).max() > 0


@pytest.mark.parametrize(("builder", "options"), [("deeplabv1", {}), ("deeplabv2", {"rates": (1, 2)})])
def test_deeplab_starts_every_branch_from_the_decimated_classifier(builder, options, kernels):
    branches = zoo.build(builder, 3, **options).get_layer("scores").branches
    assert len(branches) == len(options.get("rates", [12]))
    for fc6, _, fc7, *_ in branches:
        np.testing.assert_array_equal(fc6.conv.get_weights()[0], kernels[0][::3, ::3, :, ::4])
        np.testing.assert_array_equal(fc7.conv.get_weights()[0][0, 0], kernels[1][::4, ::4])
