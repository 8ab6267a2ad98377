"""Multiply-adds and receptive fields, against published numbers and against what a changed pixel changes."""

import math

import keras
import numpy as np
import pytest

from kseg import encoders, zoo
from kseg.layers import BedOfNailsUnpooling2D, ConvCRF, NearestUnpooling2D, PositionAttention, SpatialReductionAttention
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers")


@pytest.mark.parametrize(("encoder", "billions"), [("vgg16", 15.35), ("resnet18", 1.81), ("resnet50", 4.09)])
def test_multiply_adds_are_the_published(encoder, billions):
    """At 224x224; the published counts hold the dense layers, 0.12, 0.0005 and 0.002 of them, which encoders lack."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, encoders.extract(image, encoder, weights=None)[32])
    calls = [layer.call.__func__ for layer in model.get_layer("encoder").layers]
    assert zoo.multiply_adds(model, (224, 224)) / 1e9 == pytest.approx(billions, abs=0.01)
    assert [layer.call.__func__ for layer in model.get_layer("encoder").layers] == calls  # left as they were


@pytest.mark.parametrize(
    ("encoder", "pixels"), [("vgg16", 212), ("resnet18", 435), ("resnet50", 427), ("resnet101", 971)]
)
def test_receptive_fields_are_the_published(encoder, pixels, without_memory):
    image = keras.Input((None, None, 3))
    assert zoo.receptive_field(keras.Model(image, encoders.extract(image, encoder, weights=None)[32])) == pixels


@pytest.mark.parametrize(
    "builder", ["full_resolution", "fcn32", "fcn8", "segnet_basic", "unet", "unet_2015", "deeplabv1", "deeplabv2"]
)
def test_no_logit_depends_on_more_pixels_than_that(builder):
    """Changes a row of the image and measures how far from it logits change."""
    options = {key: value for key, value in CHEAP[builder].items() if key != "scales"}
    model = zoo.build(builder, 2, **options)
    for kernel in model.trainable_variables:
        if kernel.path.endswith("kernel") and not np.any(kernel):  # scores that start at zero
            kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    pixels = zoo.receptive_field(model)
    height = 2 * pixels + 65
    image = np.random.default_rng(0).uniform(0, 255, (1, height, 32, 3)).astype("float32")
    changed = image.copy()
    changed[0, height // 2] = 255 - changed[0, height // 2]
    difference = np.abs(model.predict_on_batch(image) - model.predict_on_batch(changed))[0].max(axis=(1, 2))
    rows = np.flatnonzero(difference > 0) * (height / len(difference))
    assert 0 <= np.abs(rows - height // 2).max() < pixels


def seen_rows(model, height, width, rows=slice(None)):
    """The most rows of the image that one of the rows of the output depends on."""
    image = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")
    images = np.repeat(image, height + 1, axis=0)
    images[np.arange(height), np.arange(height)] = 255 - image[0, 0]  # each but the last has another row changed
    outputs = model.predict_on_batch(images)
    changed = np.abs(outputs[:-1] - outputs[-1])[:, rows].max(axis=(2, 3))  # row of the image, row of the output
    return max(np.ptp(np.flatnonzero(column)) + 1 for column in changed.T)


@pytest.mark.parametrize(("radius", "stride", "cells"), [(1, 2, 14), (2, 1, 17)])
def test_three_messages_of_a_crf_depend_on_whole_cells(radius, stride, cells):
    """Of stride 2: each message 2 cells of the windows and 2 interpolated, and 2 more of the norms: 3 * 4 + 2."""
    image = keras.Input((None, None, 3))
    crf = ConvCRF(radius=radius, stride=stride, iterations=3, appearance_rgb=50.0)
    model = keras.Model(image, crf(keras.layers.Conv2D(2, 1)(keras.layers.Rescaling(1 / 255)(image)), image))
    pixels = cells * stride
    assert zoo.receptive_field(model) == pixels
    seen = seen_rows(model, 64, 2 * stride, slice(24, 40))
    assert pixels - 2 * radius * stride < seen <= pixels  # what is far may be rounded away, not a window


@pytest.mark.parametrize("enlarge", [NearestUnpooling2D, BedOfNailsUnpooling2D, keras.layers.UpSampling2D])
def test_a_convolution_after_an_unpooling_sees_fine_pixels(enlarge):
    image = keras.Input((None, None, 3))
    x = enlarge(2)(keras.layers.Conv2D(4, 3, strides=2, padding="same")(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, padding="same")(x))
    assert seen_rows(model, 16, 4) == zoo.receptive_field(model) == 5


@pytest.mark.parametrize(
    ("layer", "options"),
    [("GlobalMaxPooling2D", {"keepdims": True}), ("GlobalAveragePooling2D", {"keepdims": True}),
     ("GroupNormalization", {"groups": 3})],
)  # fmt: skip
def test_what_depends_on_the_whole_image(layer, options):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, image + getattr(keras.layers, layer)(**options)(image))
    assert math.isinf(zoo.receptive_field(model))


def test_keras_own_separable_and_transposed_convolutions_are_counted():
    image = keras.Input((None, None, 3))
    separable = keras.Model(image, keras.layers.SeparableConv2D(4, 5, padding="same")(image))
    assert zoo.receptive_field(separable) == 5
    assert zoo.multiply_adds(separable, (10, 20)) == 200 * (25 * 3 + 3 * 4)
    assert seen_rows(separable, 16, 4) == 5
    transposed = keras.Model(image, keras.layers.Conv2DTranspose(4, 5, strides=2, padding="same")(image))
    assert zoo.receptive_field(transposed) == 3
    assert zoo.multiply_adds(transposed, (10, 20)) == 200 * 25 * 3 * 4


def test_products_of_attention_are_counted():
    segformer = zoo.segformer(150, encoder_weights=None)
    assert zoo.multiply_adds(segformer, (512, 512)) == pytest.approx(8.4e9, rel=0.01)  # Xie et al. 2021, table 1
    image = keras.Input((None, None, 4))
    model = keras.Model(image, SpatialReductionAttention(2, reduction=2)(image))
    dense, reduction, products = 2 * (48 + 12) * 4**2, 12 * (2 * 2 * 4 * 4), 2 * 48 * 12 * 4
    assert zoo.multiply_adds(model, (8, 6)) == dense + reduction + products
    model = keras.Model(image, PositionAttention(3)(image))
    assert zoo.multiply_adds(model, (8, 6)) == 48 * (2 * 12 + 2 * 9 * 16) + 48**2 * (3 + 4)


def test_the_summary_is_a_table():
    summary = zoo.summary(size=(200, 200), builders=["unet_2015", "full_resolution"])
    assert [row["multiply_adds"] is None for row in summary] == [True, False]
    assert summary[1]["parameters"] == 188_949 and summary[1]["receptive_field"] == 13
    assert str(summary).splitlines()[2].split() == [
        *("full_resolution", "its", "own", "-", "0.19", "M", "7.50", "G", "1", "13", "px")
    ]
    assert set(zoo.list_models()) == set(zoo.BUILDERS)


def test_a_summary_refuses_a_name_in_place_of_a_list_and_names_that_do_not_exist():
    for call in (lambda: zoo.summary("unet"), lambda: zoo.summary(builders="unet")):
        with pytest.raises(TypeError, match=r"got 'unet': for one builder, write builders=\['unet'\]"):
            call()
    with pytest.raises(ValueError, match="unknown builder 'unett': did you mean unet"):
        zoo.summary(builders=["unett"])
