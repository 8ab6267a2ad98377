"""ResNet v1.5, Wide ResNet, ResNeXt and ResNet-D, as in torchvision, timm and segmentation-models-pytorch.

In v1.5, the 3x3 convolution of a bottleneck halves the size; in the paper and in keras.applications (`resnet50_v1`
here), the 1x1 convolution before it does. Padding is symmetric, as in PyTorch, for odd and for even sizes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.atrous import AtrousPooling2D, shifted_rates
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import convolution, load_from_torchvision
from kseg.layers import HalvingMean2D


class Variant(NamedTuple):
    """A network.

    Attributes:
        depths: Number of blocks of the four stages.
        bottleneck: Whether the blocks are bottlenecks: 1x1, 3x3, 1x1 with four times the channels of the stage.
        groups: Number of groups of the 3x3 convolutions of bottlenecks.
        group_width: Number of channels of each group in the first stage.
        deep: Whether it is a ResNet-D: three 3x3 convolutions instead of the first one of 7x7, and means of 2x2 pixels
            before the 1x1 convolution of a shortcut that halves the size.
    """

    depths: tuple[int, ...]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64
    deep: bool = False

    @property
    def spatial(self) -> int:
        """Number of spatial convolutions of a block."""
        return 1 if self.bottleneck else 2


_50, _101, _152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

VARIANTS = {
    "resnet18": Variant((2, 2, 2, 2), bottleneck=False),
    "resnet34": Variant(_50, bottleneck=False),
    "resnet50": Variant(_50),
    "resnet101": Variant(_101),
    "resnet152": Variant(_152),
    "wide_resnet50_2": Variant(_50, group_width=128),
    "wide_resnet101_2": Variant(_101, group_width=128),
    "resnext50_32x4d": Variant(_50, groups=32, group_width=4),
    "resnext101_32x4d": Variant(_101, groups=32, group_width=4),
    "resnext101_32x8d": Variant(_101, groups=32, group_width=8),
    "resnext101_32x16d": Variant(_101, groups=32, group_width=16),
    "resnext101_32x32d": Variant(_101, groups=32, group_width=32),
    "resnext101_32x48d": Variant(_101, groups=32, group_width=48),
    "resnext101_64x4d": Variant(_101, groups=64, group_width=4),
    "resnet18d": Variant((2, 2, 2, 2), bottleneck=False, deep=True),
    "resnet26d": Variant((2, 2, 2, 2), deep=True),
    "resnet34d": Variant(_50, bottleneck=False, deep=True),
    "resnet50d": Variant(_50, deep=True),
    "resnet101d": Variant(_101, deep=True),
    "resnet152d": Variant(_152, deep=True),
}

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    name: f"https://download.pytorch.org/models/{name}-{digits}.pth"
    for name, digits in (
        ("resnet18", "f37072fd"),
        ("resnet34", "b627a593"),
        ("resnet50", "0676ba61"),
        ("resnet101", "63fe2227"),
        ("resnet152", "394f9c45"),
        ("wide_resnet50_2", "95faca4d"),
        ("wide_resnet101_2", "32ee1156"),
        ("resnext50_32x4d", "7cdf4587"),
        ("resnext101_32x8d", "8ba56ff5"),
        ("resnext101_64x4d", "173b62eb"),
    )
}

IMAGENET_TIMM = {
    "resnext101_32x4d": "fb_ssl_yfcc100m_ft_in1k",
    "resnext101_32x16d": "fb_wsl_ig1b_ft_in1k",
    "resnext101_32x32d": "fb_wsl_ig1b_ft_in1k",
    "resnet18d": "ra2_in1k",
    "resnet26d": "bt_in1k",
    "resnet34d": "ra2_in1k",
    "resnet50d": "ra2_in1k",
    "resnet101d": "ra2_in1k",
    "resnet152d": "ra2_in1k",
}
"""The tags of the weights of timm that `"imagenet"` stands for, where torchvision has none."""

OPTIONS = ("mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

_BLOCK: checkpoints.Rules = (
    (r"layer(\d)\.(\d+)\.conv(\d)", r"layer\1_\2_conv\3"),
    (r"layer(\d)\.(\d+)\.bn(\d)", r"layer\1_\2_norm\3"),
)
RULES: checkpoints.Rules = (
    (r"conv1", "conv1"),
    (r"bn1", "norm1"),
    *_BLOCK,
    (r"layer(\d)\.(\d+)\.downsample\.0", r"layer\1_\2_shortcut_conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1_\2_shortcut_norm"),
)
"""From the modules of torchvision, timm and segmentation-models-pytorch to the layers of this network."""

DEEP_RULES: checkpoints.Rules = (
    (r"conv1\.0", "stem_conv1"),
    (r"conv1\.1", "stem_norm1"),
    (r"conv1\.3", "stem_conv2"),
    (r"conv1\.4", "stem_norm2"),
    (r"conv1\.6", "stem_conv3"),
    (r"bn1", "stem_norm3"),
    *_BLOCK,
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1_\2_shortcut_conv"),
    (r"layer(\d)\.(\d+)\.downsample\.2", r"layer\1_\2_shortcut_norm"),
)
"""The same for ResNet-D, of timm."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a ResNet as an encoder: its stem at stride 2, then its four stages at 4, 8, 16 and 32.

    Images are normalized by `mean` and `std`, on the scale 0 to 255; by default by those of ImageNet.

    Where a stride becomes dilation, the convolution that loses the stride keeps the previous dilation rate, and those
    after it get the new one, as in torchvision: every k-th position of the dilated features equals the strided ones.

    Raises:
        ValueError: If `multi_grid` has too many factors, or if there are no ImageNet weights.

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, https://arxiv.org/abs/1512.03385;
        v1.5: https://catalog.ngc.nvidia.com/orgs/nvidia/resources/resnet_50_v1_5_for_pytorch; Zagoruyko, Komodakis:
        Wide Residual Networks, 2016, https://arxiv.org/abs/1605.07146; Xie, Girshick, Dollar, Tu, He: Aggregated
        Residual Transformations for Deep Neural Networks, 2017, https://arxiv.org/abs/1611.05431; ResNet-D: He, Zhang,
        Zhang, Zhang, Xie, Li: Bag of Tricks for Image Classification, 2018, https://arxiv.org/abs/1812.01187
    """
    variant = VARIANTS[name]
    if weights == "imagenet" and name not in ADDRESSES:
        raise ValueError(f"there are no ImageNet weights of {name}: pass encoder_weights=None or a file")
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    if variant.deep:
        for index, (width, strides) in enumerate(((32, 2), (32, 1), (64, 1)), start=1):
            x = convolution(x, f"stem_conv{index}", width, 3, strides=strides)
            x = keras.layers.ReLU(name=f"stem_relu{index}")(x)
    else:
        x = keras.layers.ReLU(name="relu")(convolution(x, "conv1", 64, 7, strides=2))
    features = [x]
    x = keras.layers.ZeroPadding2D(1, name="pool_pad")(x)  # zeros do not change the maxima: the values come from a ReLU
    x = keras.layers.MaxPooling2D(3, 2, name="pool")(x)
    full = [max(1, 4 * 2**stage // output_stride) for stage in range(4)]  # the dilation rates of the stages
    spatial = [
        rate for rate, repeats in zip(full, variant.depths, strict=True) for _ in range(repeats * variant.spatial)
    ]
    rates = shifted_rates(spatial, multi_grid)
    for stage, repeats in enumerate(variant.depths):
        width = 64 * 2**stage
        inner = variant.groups * (variant.group_width * width // 64)
        form = ((inner, 1), (inner, 3), (4 * width, 1)) if variant.bottleneck else ((width, 3), (width, 3))
        for repeat in range(repeats):
            first = stage > 0 and repeat == 0
            strides = 2 if first and 4 * 2**stage <= output_stride else 1
            name_of_block = f"layer{stage + 1}_{repeat}"
            shortcut = x
            if variant.deep and first:
                pool = f"{name_of_block}_shortcut_pool"
                pooling = (
                    HalvingMean2D(name=pool)
                    if strides == 2
                    else AtrousPooling2D("average", full[stage] // 2, name=pool)
                )
                shortcut = pooling(x)
            x = _block(x, shortcut, name_of_block, form, strides, rates, variant.groups)
        features.append(x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        load_from_torchvision(encoder, ADDRESSES[name], convert)
    return encoder


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a ResNet of torchvision or timm, without its classifier.

    `kseg.pretrained.load(model.get_layer("encoder"), convert(kseg.checkpoints.read(path)))` loads a file. Other
    variants of timm (such as `resnet50t`) do not fit: their tensors keep their names, and loading reports them.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"layer1.0.bn1.running_var": np.ones(64), "fc.bias": np.ones(1000)}))
        ['layer1_0_norm1/moving_variance']
    """
    deep = any(re.search(r"(?<![^.])conv1\.0\.", name) for name in state)
    rules = DEEP_RULES if deep else RULES
    state = checkpoints.unwrapped(state, rules)
    return checkpoints.rename(
        {name: array for name, array in state.items() if not checkpoints.within(name, "fc")}, rules
    )


def _block(
    x: keras.KerasTensor,
    shortcut: keras.KerasTensor,
    name: str,
    form: Sequence[tuple[int, int]],
    strides: int,
    rates: Iterator[int],
    groups: int,
) -> keras.KerasTensor:
    """Adds convolutions, whose numbers of filters and kernel sizes `form` lists, to the input or its projection."""
    if x.shape[-1] != form[-1][0]:
        pooled = shortcut is not x
        shortcut = convolution(shortcut, f"{name}_shortcut_conv", form[-1][0], 1, strides=1 if pooled else strides)
    for index, (filters, kernel_size) in enumerate(form, start=1):
        if index > 1:
            x = keras.layers.ReLU(name=f"{name}_relu{index - 1}")(x)
        if kernel_size == 1:
            x = convolution(x, f"{name}_conv{index}", filters, 1)
        else:
            options = {"strides": strides, "dilation_rate": next(rates), "groups": groups}
            x = convolution(x, f"{name}_conv{index}", filters, kernel_size, **options)
            strides = 1
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
