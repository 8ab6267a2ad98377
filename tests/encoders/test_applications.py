"""The encoders against the networks of keras.applications, with random weights instead of ImageNet's."""

import sys

import keras
import numpy as np
import pytest

from kseg import encoders
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

nets = keras.applications

# The network of each encoder, the module with its preprocessing, and the layers whose outputs are the features.
NETWORKS = {
    "vgg16": (nets.VGG16, nets.vgg16, [f"block{block}_pool" for block in range(1, 6)]),
    "resnet50_v1": (
        nets.ResNet50,
        nets.resnet,
        ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
    ),
    "mobilenet_v2": (
        nets.MobileNetV2,
        nets.mobilenet_v2,
        ["expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "block_16_project_BN"],
    ),
    "mobilenet_v3_small": (
        nets.MobileNetV3Small,
        nets.mobilenet_v3,
        [None, "expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add", None],
    ),
    "efficientnet_b0": (
        nets.EfficientNetB0,
        nets.efficientnet,
        ["block1a_project_bn", "block2b_add", "block3b_add", "block5c_add", "block7a_project_bn"],
    ),
    "efficientnet_v2_b0": (
        nets.EfficientNetV2B0,
        nets.efficientnet_v2,
        ["block1a_project_activation", "block2b_add", "block3b_add", "block5e_add", "block6h_add"],
    ),
    "densenet121": (nets.DenseNet121, nets.densenet, ["conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"]),
}


def randomize(model: keras.Model) -> None:
    """Assigns weights like those of a trained network: statistics other than 0 and 1, and scales near 1."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            # The file of EfficientNet contains standard deviations in place of variances.
            for weight, value in zip(layer.weights, ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0), strict=True):
                weight.assign(np.reshape(value, weight.shape))
    for variable in model.weights:
        if variable.path.endswith(("gamma", "scale", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "bias", "moving_mean")):
            variable.assign(rng.normal(0, 0.1, variable.shape))


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Replaces the download of ImageNet weights by a file with random weights."""

    def serve(network) -> keras.Model:
        model = network(include_top=False, weights=None, input_shape=(67, 67, 3))
        randomize(model)
        model.save_weights(tmp_path / "served.weights.h5")
        downloads = sys.modules[keras.utils.get_file.__module__]
        monkeypatch.setattr(downloads, "get_file", lambda *_, **__: str(tmp_path / "served.weights.h5"))
        return model

    return serve


# A side of 67 is halved to 34, 17, 9, 5 and 3. The originals are built for this size, and pad odd and even sizes
# correctly; the encoders are built for any size.
@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_those_of_the_original_with_its_preprocessing(name, served):
    network, module, layers = NETWORKS[name]
    original = served(network)
    if name == "efficientnet_b0":  # has one layer more with ImageNet weights
        original = network(include_top=False, weights="imagenet", input_shape=(67, 67, 3))
    named = [position for position, layer in enumerate(layers) if layer]
    outputs = [original.get_layer(layers[position]).output for position in named]
    if layers[-1] is None:
        named, outputs = [*named, -1], [*outputs, original.output]
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 67, 67, 3)).astype("float32")
    expected = computed(keras.Model(original.input, outputs), module.preprocess_input(pixels.copy()))

    image = keras.Input((None, None, 3))
    features = list(encoders.extract(image, name).by_stride.values())
    found = computed(keras.Model(image, [features[position] for position in named]), pixels)
    for feature, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(feature, reference, atol=2e-4 * np.abs(reference).max())


def test_kernels_for_one_channel_are_the_sum_of_the_rgb_kernels(served):
    original = served(nets.MobileNetV2)
    encoder = encoders.build("mobilenet_v2", input_shape=(None, None, 1))
    gray, rgb = (model.get_layer("Conv1").get_weights()[0] for model in (encoder, original))
    np.testing.assert_allclose(gray[:, :, 0], rgb.sum(axis=2), rtol=1e-6)
