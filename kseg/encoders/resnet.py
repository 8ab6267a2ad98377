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
from kseg.layers import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization, Conv2D

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
    name: f"https://download.pytorch.org/models/{name}-{digits}.pth"
    for name, digits in zip(VARIANTS, ("f37072fd", "b627a593", "0676ba61", "63fe2227", "394f9c45"), strict=True)
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
    image = keras.Input(input_shape, name="image")
    x = IMAGENET.layer(input_shape[-1])(image)
    x = keras.layers.ReLU(name="relu")(_convolution(x, "conv1", 64, 7, strides=2))
    features = [x]
    x = keras.layers.ZeroPadding2D(1, name="pool_pad")(x)  # zeros do not change the maxima: the values come from a ReLU
    x = keras.layers.MaxPooling2D(3, 2, name="pool")(x)
    rates = _rates(blocks, 1 if bottleneck else 2, output_stride, multi_grid)
    for stage, repeats in enumerate(blocks):
        width = 64 * 2**stage
        form = ((width, 1), (width, 3), (4 * width, 1)) if bottleneck else ((width, 3), (width, 3))
        for repeat in range(repeats):
            strides = 2 if stage > 0 and repeat == 0 and 4 * 2**stage <= output_stride else 1
            x = _block(x, f"layer{stage + 1}_{repeat}", form, strides, rates)
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
    state = checkpoints.unwrapped(state, RULES)
    return checkpoints.rename(
        {name: array for name, array in state.items() if not checkpoints.within(name, "fc")}, RULES
    )


def _rates(blocks: Sequence[int], convolutions: int, output_stride: int, multi_grid: Sequence[int]) -> Iterator[int]:
    """The dilation rates of the 3x3 convolutions, in the order of the network.

    A factor of `multi_grid` multiplies the rate of the stage, also at the convolution that lost its stride.
    """
    full = [
        max(1, 4 * 2**stage // output_stride)
        for stage, repeats in enumerate(blocks)
        for _ in range(repeats * convolutions)
    ]
    check_multi_grid(multi_grid, len(full))
    rest = len(full) - len(multi_grid)
    factored = [rate * factor for rate, factor in zip(full[rest:], multi_grid, strict=True)]
    return iter([1, *full[:-1]][:rest] + factored)  # the first convolution of a stage has the rate of the one before it


def _block(
    x: keras.KerasTensor, name: str, form: Sequence[tuple[int, int]], strides: int, rates: Iterator[int]
) -> keras.KerasTensor:
    """Adds convolutions, whose numbers of filters and kernel sizes `form` lists, to their input or its projection."""
    entry = x
    if x.shape[-1] != form[-1][0]:
        entry = _convolution(x, f"{name}_shortcut_conv", form[-1][0], 1, strides)
    for index, (filters, kernel_size) in enumerate(form, start=1):
        if index > 1:
            x = keras.layers.ReLU(name=f"{name}_relu{index - 1}")(x)
        if kernel_size == 1:
            x = _convolution(x, f"{name}_conv{index}", filters, 1)
        else:
            x = _convolution(x, f"{name}_conv{index}", filters, kernel_size, strides, next(rates))
            strides = 1
    x = keras.layers.Add(name=f"{name}_add")([x, entry])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolution(
    x: keras.KerasTensor, name: str, filters: int, kernel_size: int, strides: int = 1, rate: int = 1
) -> keras.KerasTensor:
    """A convolution and its normalization."""
    if strides > 1 and kernel_size > 1:  # "same" would pad even sizes on the far side only
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    x = Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=name.replace("conv", "norm"))(x)
