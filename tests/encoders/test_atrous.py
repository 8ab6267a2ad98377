"""Dilation instead of strides."""

import keras
import numpy as np
import pytest

from kseg import encoders, pretrained
from kseg.encoders import ENCODERS
from kseg.encoders.atrous import AtrousPooling2D
from tests.encoders.test_applications import randomize
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")


# Fewer channels and blocks, where an encoder has options for them.
SMALL = {"convnext_tiny": {"name": "convnext_tiny", "filters": (8, 12, 16, 24), "depths": (1, 1, 2, 2)}}


def last_features(name: str, size: tuple[int, int], output_stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The coarsest features of the strided and of the dilated network with the same weights."""
    image = np.random.default_rng(1).uniform(0, 255, (1, *size, 3)).astype("float32")
    encoder = SMALL.get(name, name)
    strided = encoders.build(encoder, input_shape=(*size, 3), weights=None)
    randomize(strided)
    dilated = encoders.build(encoder, input_shape=(*size, 3), weights=None, output_stride=output_stride)
    coarse = pretrained.weight_keys(strided)
    for key, variable in pretrained.weight_keys(dilated).items():
        variable.assign(keras.ops.convert_to_numpy(coarse[key]))
    return computed(strided, image)[-1], computed(dilated, image)[-1]


# The offset is the position of the first strided feature among the dilated ones: `same` pads odd sizes (the heights) on
# both sides, even sizes on the far side. Rounding drops no row at these sizes: the equality includes the border.
@pytest.mark.parametrize(
    ("name", "size", "output_stride", "offset"),
    [
        ("efficientnet_lite0", (65, 96), 8, (0, 3)),
        ("mobilenet_v2", (65, 96), 16, (0, 1)),
        ("mobilenet_v2_torchvision", (65, 98), 8, (0, 0)),
        ("resnet18", (65, 97), 8, (0, 0)),
        ("resnet50_v1", (65, 97), 8, (0, 0)),
        ("vgg16", (64, 96), 8, (0, 0)),
        ("densenet121", (64, 96), 8, (0, 0)),
        ("convnext_tiny", (64, 96), 8, (0, 0)),
    ],
)
def test_dilated_features_contain_the_strided_ones(name, size, output_stride, offset):
    assert ENCODERS[name].exact
    strided, dilated = last_features(name, size, output_stride)
    step = 32 // output_stride
    assert dilated.shape[1:3] == tuple(ENCODERS[name].sizes(side)[output_stride] for side in size)
    found = dilated[:, offset[0] :: step, offset[1] :: step][:, : strided.shape[1], : strided.shape[2]]
    assert np.abs(strided).max() > 1e-3
    np.testing.assert_allclose(found, strided, atol=1e-4 * np.abs(strided).max())


def test_dilation_is_approximate_with_squeeze_and_excitation():
    assert not ENCODERS["mobilenet_v3_small"].exact
    strided, dilated = last_features("mobilenet_v3_small", (65, 97), 16)
    scale = np.abs(strided).max()
    assert 1e-6 * scale < np.abs(dilated[:, ::2, ::2] - strided).max() < 0.2 * scale


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet50_v1", ["conv5_block1_2_conv", "conv5_block2_2_conv", "conv5_block3_2_conv"]),
        ("convnext_tiny", [f"stage4_{block}_depthwise_conv" for block in range(3)]),
        ("efficientnet_lite0", ["block13_depthwise_conv", "block14_depthwise_conv", "block15_depthwise_conv"]),
    ],
)
def test_multi_grid_multiplies_the_rates_of_the_last_blocks(name, layers, without_memory):
    model = encoders.build(name, weights=None, output_stride=16, multi_grid=(1, 2, 4))
    assert [model.get_layer(layer).dilation_rate[0] for layer in layers] == [2, 4, 8]


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("rate", [1, 2])
def test_atrous_pooling_equals_a_loop_over_windows(mode, rate):
    image = np.random.default_rng(0).uniform(0, 1, (2, 5, 6, 3)).astype("float32")
    padded = np.pad(image, ((0, 0), (0, rate), (0, rate), (0, 0)))
    expected = np.empty_like(image)
    for i in range(5):
        for j in range(6):
            window = padded[:, i : i + rate + 1 : rate, j : j + rate + 1 : rate]
            expected[:, i, j] = window.max((1, 2)) if mode == "max" else window.mean((1, 2))
    found = keras.ops.convert_to_numpy(AtrousPooling2D(mode, rate)(image))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_unknown_pooling_mode_is_refused():
    with pytest.raises(ValueError, match="median"):
        AtrousPooling2D("median", 1)
