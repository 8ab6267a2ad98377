"""ResNet v1.5, as in torchvision, timm and segmentation-models-pytorch, whose weight files it loads.

In v1.5, the 3x3 convolution of a bottleneck halves the size; in the paper and in keras.applications (`resnet50_v1`
here), the 1x1 convolution before it does. Padding is symmetric, as in PyTorch, for odd and for even sizes.
"""

from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from kseg import checkpoints, download, pretrained
from kseg.encoders.atrous import check_multi_grid
from kseg.encoders.channels import IMAGENET, adapt_kernel
from kseg.layers import convolution

# Blocks of the four stages, and whether they are bottlenecks: 1x1, 3x3, 1x1 with four times the channels.
VARIANTS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
}

RULES: checkpoints.Rules = (
    (r"conv1", "conv1"),
    (r"bn1", "norm1"),
    (r"layer(\d)\.(\d+)\.conv(\d)", r"layer\1_\2_conv\3"),
    (r"layer(\d)\.(\d+)\.bn(\d)", r"layer\1_\2_norm\3"),
    (r"layer(\d)\.(\d+)\.downsample\.0", r"layer\1_\2_shortcut_conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1_\2_shortcut_norm"),
)
"""From the modules of torchvision, timm and segmentation-models-pytorch to the layers of this network."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
) -> keras.Model:
    """Builds a ResNet as an encoder: its stem at stride 2, then its four stages at 4, 8, 16 and 32.

    Where a stride becomes dilation, the convolution that loses the stride keeps the previous dilation rate, and those
    after it get the new one, as in torchvision: every k-th position of the dilated features equals the strided ones.

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, https://arxiv.org/abs/1512.03385;
        v1.5: https://catalog.ngc.nvidia.com/orgs/nvidia/resources/resnet_50_v1_5_for_pytorch
    """
    blocks, bottleneck = VARIANTS[name]
    block = _bottleneck if bottleneck else _basic
    image = keras.Input(input_shape, name="image")
    x = IMAGENET.layer(input_shape[-1])(image)
    x = _convolution(x, "conv1", 64, 7, strides=2)
    x = keras.layers.ReLU(name="relu")(_norm(x, "norm1"))
    features = [x]
    x = keras.layers.ZeroPadding2D(1, name="pool_pad")(x)  # zeros do not change the maxima: the values come from a ReLU
    x = keras.layers.MaxPooling2D(3, 2, name="pool")(x)
    rates = _rates(blocks, 1 if bottleneck else 2, output_stride, multi_grid)
    for stage, repeats in enumerate(blocks):
        stride, replaced = _stride(stage, output_stride)
        for repeat in range(repeats):
            shortcut = repeat == 0 and (stage > 0 or bottleneck)
            steps = stride if repeat == 0 and not replaced else 1
            x = block(x, f"layer{stage + 1}_{repeat}", 64 * 2**stage, steps, rates, shortcut)
        features.append(x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        url = ADDRESSES[name]
        arrays = convert(checkpoints.read(download.fetch(url, sha256=url.rpartition("-")[2].removesuffix(".pth"))))
        arrays["conv1/kernel"] = adapt_kernel(arrays["conv1/kernel"], input_shape[-1])
        pretrained.load(encoder, arrays)
    return encoder


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a ResNet v1.5 of torchvision or timm, without its classifier.

    `kseg.pretrained.load(model.get_layer("encoder"), convert(kseg.checkpoints.read(path)))` loads a file. Variants of
    timm with another stem or shortcut (such as `resnet50d`) do not fit: their tensors keep their names, and loading
    reports them.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"layer1.0.bn1.running_var": np.ones(64), "fc.bias": np.ones(1000)}))
        ['layer1_0_norm1/moving_variance']
    """
    return checkpoints.rename(
        {name: array for name, array in state.items() if not checkpoints.within(name, "fc")}, RULES
    )


def _stride(stage: int, output_stride: int) -> tuple[int, bool]:
    """The stride of a stage in the original network, and whether it becomes dilation."""
    stride = 2 if stage else 1
    return stride, stride == 2 and 4 * 2**stage > output_stride


def _rates(blocks: Sequence[int], convolutions: int, output_stride: int, multi_grid: Sequence[int]) -> Iterator[int]:
    """The dilation rates of the 3x3 convolutions, in the order of the network.

    A factor of `multi_grid` multiplies the rate of the stage, also at the convolution that lost its stride.
    """
    rates, full, rate = [], [], 1
    for stage, repeats in enumerate(blocks):
        first = rate
        if _stride(stage, output_stride)[1]:
            rate *= 2
        rates += [first] + [rate] * (repeats * convolutions - 1)
        full += [rate] * (repeats * convolutions)
    check_multi_grid(multi_grid, len(rates))
    for position, factor in enumerate(reversed(multi_grid), start=1):
        rates[-position] = full[-position] * factor
    return iter(rates)


def _basic(
    x: keras.KerasTensor, name: str, filters: int, strides: int, rates: Iterator[int], shortcut: bool
) -> keras.KerasTensor:
    entry = _shortcut(x, name, filters, strides) if shortcut else x
    x = _convolution(x, f"{name}_conv1", filters, 3, strides, next(rates))
    x = keras.layers.ReLU(name=f"{name}_relu1")(_norm(x, f"{name}_norm1"))
    x = _convolution(x, f"{name}_conv2", filters, 3, 1, next(rates))
    return _joined(_norm(x, f"{name}_norm2"), entry, name)


def _bottleneck(
    x: keras.KerasTensor, name: str, filters: int, strides: int, rates: Iterator[int], shortcut: bool
) -> keras.KerasTensor:
    entry = _shortcut(x, name, 4 * filters, strides) if shortcut else x
    x = _convolution(x, f"{name}_conv1", filters, 1)
    x = keras.layers.ReLU(name=f"{name}_relu1")(_norm(x, f"{name}_norm1"))
    x = _convolution(x, f"{name}_conv2", filters, 3, strides, next(rates))
    x = keras.layers.ReLU(name=f"{name}_relu2")(_norm(x, f"{name}_norm2"))
    x = _convolution(x, f"{name}_conv3", 4 * filters, 1)
    return _joined(_norm(x, f"{name}_norm3"), entry, name)


def _shortcut(x: keras.KerasTensor, name: str, filters: int, strides: int) -> keras.KerasTensor:
    return _norm(_convolution(x, f"{name}_shortcut_conv", filters, 1, strides), f"{name}_shortcut_norm")


def _joined(x: keras.KerasTensor, entry: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.Add(name=f"{name}_add")([x, entry])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolution(
    x: keras.KerasTensor, name: str, filters: int, kernel_size: int, strides: int = 1, rate: int = 1
) -> keras.KerasTensor:
    if strides > 1 and kernel_size > 1:  # "same" would pad even sizes on the far side only
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(
        momentum=convolution.NORM_MOMENTUM, epsilon=convolution.NORM_EPSILON, name=name
    )(x)
