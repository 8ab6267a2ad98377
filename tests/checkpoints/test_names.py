"""Renaming of tensors, including those that no rule matches."""

import numpy as np

from kseg.checkpoints import rename
from kseg.encoders import resnet
from kseg.zoo import torchvision


def test_a_tensor_that_matches_no_rule_keeps_its_name():
    state = {
        "layer1.0.downsample.1.weight": np.zeros((4, 4, 1, 1)),  # timm's resnet50d has a convolution there
        "conv1.0.weight": np.zeros((4, 3, 3, 3)),
        "bn1.num_batches_tracked": np.array(3),
        "conv1.bias": np.zeros(4),
    }
    assert list(rename(state, resnet.RULES)) == ["layer1.0.downsample.1.weight", "conv1.0.weight", "conv1/bias"]


def test_kernels_change_their_layout():
    state = {
        "a.weight": np.arange(24.0).reshape(2, 3, 2, 2),
        "b.weight": np.arange(12.0).reshape(3, 1, 2, 2),
        "c.weight": np.arange(6.0).reshape(3, 2),
    }
    found = rename(state, [("a", "conv"), ("b", "block_depthwise_conv"), ("c", "dense")])
    assert {key: array.shape for key, array in found.items()} == {
        "conv/kernel": (2, 2, 3, 2),
        "block_depthwise_conv/kernel": (2, 2, 3, 1),
        "dense/kernel": (2, 3),
    }
    assert found["conv/kernel"][1, 0, 2, 1] == state["a.weight"][1, 2, 1, 0]


def test_the_palette_is_that_of_voc():
    palette = torchvision.VOC_PALETTE
    assert palette[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)) and palette[20] == (0, 64, 128)
    assert len(palette) == len(torchvision.VOC) == 21
