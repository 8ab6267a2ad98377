"""The patch classifier, and its conversion to a fully convolutional model."""

import keras
import numpy as np
import pytest

from kseg import zoo

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def _image(height, width):
    return np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")


def assert_slides(classifier, size, image, padding="valid"):
    """The dense output equals the outputs of the classifier on all patches."""
    before = size // 2 if padding == "same" else 0
    padded = np.pad(image[0], ((before, before), (before, before), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    height, width = patches.shape[:2]
    patches = np.ascontiguousarray(np.moveaxis(patches, 2, -1).reshape(-1, size, size, 3))
    expected = classifier.predict(patches, verbose=0).reshape(1, height, width, -1)
    assert np.ptp(expected) > 0.1
    found = zoo.convolutionalize(classifier, padding=padding).predict_on_batch(image)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("patch_size", [23, 25, 33])  # 25 leaves an odd feature for pooling to round down
def test_the_dense_output_is_the_sliding_window(patch_size):
    classifier = zoo.patch_classifier(4, patch_size=patch_size, filters=(6, 8), units=16)
    assert_slides(classifier, patch_size, _image(patch_size + 5, patch_size + 8))


def test_same_padding_gives_every_pixel_its_patch():
    classifier = zoo.patch_classifier(3, patch_size=17, filters=(6,), units=8)
    assert_slides(classifier, 17, _image(12, 9), padding="same")


def test_strided_convolutions_and_average_pooling_have_a_dense_form():
    image = keras.Input((19, 19, 3))
    x = keras.layers.Conv2D(5, 3, strides=2, name="strided")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.AveragePooling2D(2, name="average")(x)
    x = keras.layers.Conv2D(6, 2, activation="relu", name="after")(x)
    classifier = keras.Model(image, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)), name="strided")
    assert_slides(classifier, 19, _image(22, 24) / 255)


def test_a_sequential_model_is_converted():
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    assert_slides(keras.Sequential([keras.Input((7, 7, 3)), *parts]), 7, _image(9, 10))


def test_a_layer_without_dense_form_is_named():
    image = keras.Input((9, 9, 3))
    padded = keras.layers.Conv2D(2, 3, padding="same", name="padded")(image)
    with pytest.raises(ValueError, match=r"'padded' \(Conv2D\) cannot be converted: the layers must be"):
        zoo.convolutionalize(keras.Model(image, padded))


@pytest.mark.parametrize(("size", "message"), [(32, "must be odd"), (9, "too small for 2 levels")])
def test_patches_that_do_not_fit_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        zoo.patch_classifier(2, patch_size=size)


def test_each_convolution_of_full_resolution_adds_two_pixels_to_the_receptive_field():
    model = zoo.full_resolution(2, filters=(4, 4, 4))
    image = _image(21, 21)
    changed = image.copy()
    changed[0, 10, 10] += 50
    rows = np.abs(model.predict_on_batch(image) - model.predict_on_batch(changed))[0].max(axis=(1, 2)).nonzero()[0]
    assert (rows.min(), rows.max()) == (7, 13)


def test_the_dense_net_gives_float32_under_mixed_precision(set_dtype_policy):
    set_dtype_policy("mixed_float16")
    dense = zoo.convolutionalize(zoo.patch_classifier(3, patch_size=33, filters=(4, 6), units=8))
    assert dense.predict_on_batch(np.zeros((1, 40, 40, 3), "uint8")).dtype == np.float32
