"""FCN against the authors' nets: the same logits away from borders, if the cells of the features lie alike."""

import dataclasses

import keras
import numpy as np
import pytest

from benchmarks.peers import fcn
from kseg import encoders, zoo

FILTERS = (3, 4, 4, 6, 6)
NETS = [
    ("fcn32", {}, {}),
    ("fcn16", {}, {16: 1.0}),
    ("fcn8", {}, {16: 1.0, 8: 1.0}),
    ("fcn8", {"at_once": True}, {16: 0.01, 8: 0.0001}),
]


@pytest.fixture(autouse=True)
def narrow_vgg16(monkeypatch):
    """Gives the encoder VGG16 a few filters and no normalization, so that images are padded with zeros as features."""

    def build(*, input_shape, **_):
        image = x = keras.Input(input_shape)
        features = []
        for level, (count, width) in enumerate(zip(fcn.CONVOLUTIONS, FILTERS, strict=True), start=1):
            for place in range(1, count + 1):
                x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{level}_conv{place}")(
                    x
                )
            features.append(x := keras.layers.MaxPooling2D(2)(x))
        return keras.Model(image, features, name="encoder")

    entry = encoders.ENCODERS["vgg16"]
    classifier = dataclasses.replace(entry.classifier, width=8)
    narrow = dataclasses.replace(entry, build=build, channels=FILTERS, classifier=classifier)
    monkeypatch.setitem(encoders.ENCODERS, "vgg16", narrow)


def with_random_weights(builder, options):
    """Builds a network whose weights are random, biases and scores included, except those that upsample."""
    model = zoo.build(builder, 3, encoder="vgg16", encoder_weights=None, **options)
    rng = np.random.default_rng(0)
    for kernel, bias in fcn.variables_of(model).values():
        kernel.assign(rng.normal(0, np.sqrt(2 / np.prod(kernel.shape[:-1])), kernel.shape))
        bias.assign(rng.normal(0, 0.3, bias.shape))
    return model


def difference(model, image, scales, margins, border):
    """Compares the logits of an extended image, without margins and border, with the authors' logits."""
    before, after = margins
    height, width = image.shape[1:3]
    extended = np.pad(image, ((0, 0), (before, after), (before, after), (0, 0)))
    found = keras.ops.convert_to_numpy(model(extended))[:, before : before + height, before : before + width]
    expected = fcn.logits(image, fcn.weights_of(model), scales)
    assert found.shape == expected.shape and expected.std() > 0.1
    inside = slice(border, height - border), slice(border, width - border)
    return np.abs(found - expected)[:, *inside].max() / np.abs(expected).max()


@pytest.mark.parametrize(("builder", "options", "scales"), NETS)
def test_a_margin_of_99_pixels_gives_the_logits_of_the_authors_nets(builder, options, scales):
    model = with_random_weights(builder, options)
    image = np.random.default_rng(1).normal(0, 1, (1, 122, 154, 3)).astype("float32")  # no size is rounded
    assert difference(model, image, scales, (99, 99), border=32) < 1e-5
    assert difference(model, image, scales, (96, 96), border=32) > 1e-3  # other cells


def test_cells_lie_three_pixels_from_those_of_the_authors_nets():
    model = with_random_weights("fcn8", {})
    image = np.random.default_rng(1).normal(0, 1, (1, 541, 541, 3)).astype("float32")
    assert difference(model, image, {16: 1.0, 8: 1.0}, (3, 0), border=240) < 1e-5
    assert difference(model, image, {16: 1.0, 8: 1.0}, (0, 0), border=240) > 1e-3
