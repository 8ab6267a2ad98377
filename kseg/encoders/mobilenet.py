"""MobileNetV2 and MobileNetV3, as in torchvision, whose weight files it loads.

Padding is symmetric, as in PyTorch, for odd and for even sizes; that of keras.applications (`mobilenet_v2`,
`mobilenet_v3_small`, `mobilenet_v3_large`) is not, so that weights of one do not fit the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kseg import checkpoints, download, pretrained
from kseg.encoders.atrous import shifted_rates
from kseg.encoders.channels import IMAGENET, adapt_kernel
from kseg.layers import BatchNormalization, Conv2D, DepthwiseConv2D, SqueezeExcitation


class Block(NamedTuple):
    """An inverted residual: expanded by a 1x1 convolution, convolved depthwise, projected by a 1x1 convolution.

    Attributes:
        kernel_size: Kernel size of the depthwise convolution.
        expanded: Number of channels of the depthwise convolution.
        filters: Number of channels of the output.
        strides: 1 or 2.
        activation: Name of the activation.
        excited: Whether squeeze-and-excitation follows the depthwise convolution.
    """

    kernel_size: int
    expanded: int
    filters: int
    strides: int
    activation: str
    excited: bool = False


def _second() -> tuple[Block, ...]:
    blocks, width = [], 32
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, filters, repeats, strides in rows:
        for repeat in range(repeats):
            blocks.append(Block(3, factor * width, filters, 1 if repeat else strides, "relu6"))
            width = filters
    return tuple(blocks)


_LARGE = (
    Block(3, 16, 16, 1, "relu"),
    Block(3, 64, 24, 2, "relu"),
    Block(3, 72, 24, 1, "relu"),
    Block(5, 72, 40, 2, "relu", True),
    Block(5, 120, 40, 1, "relu", True),
    Block(5, 120, 40, 1, "relu", True),
    Block(3, 240, 80, 2, "hard_silu"),
    Block(3, 200, 80, 1, "hard_silu"),
    Block(3, 184, 80, 1, "hard_silu"),
    Block(3, 184, 80, 1, "hard_silu"),
    Block(3, 480, 112, 1, "hard_silu", True),
    Block(3, 672, 112, 1, "hard_silu", True),
    Block(5, 672, 160, 2, "hard_silu", True),
    Block(5, 960, 160, 1, "hard_silu", True),
    Block(5, 960, 160, 1, "hard_silu", True),
)
_SMALL = (
    Block(3, 16, 16, 2, "relu", True),
    Block(3, 72, 24, 2, "relu"),
    Block(3, 88, 24, 1, "relu"),
    Block(5, 96, 40, 2, "hard_silu", True),
    Block(5, 240, 40, 1, "hard_silu", True),
    Block(5, 240, 40, 1, "hard_silu", True),
    Block(5, 120, 48, 1, "hard_silu", True),
    Block(5, 144, 48, 1, "hard_silu", True),
    Block(5, 288, 96, 2, "hard_silu", True),
    Block(5, 576, 96, 1, "hard_silu", True),
    Block(5, 576, 96, 1, "hard_silu", True),
)


OPTIONS = ("first_blocks",)
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""


class Variant(NamedTuple):
    """A network.

    Attributes:
        stem: Number of channels of the first convolution.
        activation: Name of the activation of the first and the last convolution.
        blocks: The blocks.
        last: Number of channels of the last convolution; 0 if that one only serves the classifier.
        momentum: Momentum of batch normalization.
        epsilon: Epsilon of batch normalization.
    """

    stem: int
    activation: str
    blocks: tuple[Block, ...]
    last: int = 0
    momentum: float = 0.99
    epsilon: float = 1e-3


VARIANTS = {
    "mobilenet_v2_torchvision": Variant(32, "relu6", _second(), momentum=0.9, epsilon=1e-5),
    "mobilenet_v3_small_torchvision": Variant(16, "hard_silu", _SMALL, last=576),
    "mobilenet_v3_large_torchvision": Variant(16, "hard_silu", _LARGE, last=960),
}

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    name: f"https://download.pytorch.org/models/{name.removesuffix('_torchvision')}-{digits}.pth"
    for name, digits in zip(VARIANTS, ("b0353104", "047dcff4", "8738ca79"), strict=True)
}


def rules(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of torchvision's `features` to the layers of this network."""
    variant = VARIANTS[name]
    pairs = [("0.0", "stem_conv"), ("0.1", "stem_norm")]
    width = variant.stem
    for index, block in enumerate(variant.blocks, start=1):
        inside, path = f"{index}.{'block' if variant.last else 'conv'}", f"block{index}"
        names = ["expand"] if block.expanded != width else []
        names += ["depthwise", "excite"] if block.excited else ["depthwise"]
        for position, part in enumerate([*names, "project"]):
            if part == "excite":
                pairs += [(f"{inside}.{position}.fc1", f"{path}_excite/squeeze")]
                pairs += [(f"{inside}.{position}.fc2", f"{path}_excite/excite")]
            elif part == "project" and not variant.last:  # without an activation, V2 nests the layers less
                pairs += [(f"{inside}.{position}", f"{path}_project_conv")]
                pairs += [(f"{inside}.{position + 1}", f"{path}_project_norm")]
            else:
                pairs += [(f"{inside}.{position}.{i}", f"{path}_{part}_{kind}") for i, kind in enumerate(_KINDS)]
        width = block.filters
    if variant.last:
        pairs += [(f"{len(variant.blocks) + 1}.{i}", f"last_{kind}") for i, kind in enumerate(_KINDS)]
    return [(module.replace(".", r"\."), path) for module, path in pairs]


_KINDS = ("conv", "norm")


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    first_blocks: bool = False,
) -> keras.Model:
    """Builds a MobileNet as an encoder, with features at strides 2, 4, 8, 16 and 32.

    Where a stride becomes dilation, the convolution that loses the stride keeps the previous dilation rate, and those
    after it get the new one: every k-th position of the dilated features equals the strided ones. A `multi_grid` of
    ones for all convolutions of the dilated stages gives torchvision's form, which dilates the first one too.

    Args:
        name: A key of `VARIANTS`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's) or None.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last depthwise convolutions.
        first_blocks: Whether the features before the last are the outputs of the first blocks at their strides, instead
            of the last ones, as in torchvision's models for segmentation.

    Raises:
        ValueError: If `multi_grid` has too many factors.

    Reference:
        Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018,
        https://arxiv.org/abs/1801.04381; Howard et al.: Searching for MobileNetV3, 2019,
        https://arxiv.org/abs/1905.02244
    """
    variant = VARIANTS[name]
    rates = _rates(variant.blocks, output_stride, multi_grid)

    def convolution(x: keras.KerasTensor, filters: int, path: str, activation: str | None, **options: int) -> Any:
        strides, rate = options.get("strides", 1), options.get("rate", 1)
        kernel_size = options.get("kernel_size", 1)
        if strides > 1:  # "same" would pad even sizes on the far side only
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{path}_pad")(x)
        spatial = {"strides": strides, "padding": "valid" if strides > 1 else "same", "use_bias": False}
        if path.endswith("depthwise"):
            layer = DepthwiseConv2D(kernel_size, **spatial, dilation_rate=rate, name=f"{path}_conv")
        else:
            layer = Conv2D(filters, kernel_size, **spatial, kernel_initializer="he_normal", name=f"{path}_conv")
        x = BatchNormalization(momentum=variant.momentum, epsilon=variant.epsilon, name=f"{path}_norm")(layer(x))
        return keras.layers.Activation(activation, name=f"{path}_{activation}")(x) if activation else x

    image = keras.Input(input_shape, name="image")
    x = IMAGENET.layer(input_shape[-1])(image)
    x = convolution(x, variant.stem, "stem", variant.activation, kernel_size=3, strides=2)
    features, stride, first = [], 2, x
    for index, (block, rate) in enumerate(zip(variant.blocks, rates, strict=True), start=1):
        if block.strides == 2:
            features.append(first if first_blocks else x)
            stride *= 2
        entry, path = x, f"block{index}"
        if block.expanded != x.shape[-1]:
            x = convolution(x, block.expanded, f"{path}_expand", block.activation)
        strides = block.strides if stride <= output_stride else 1
        x = convolution(
            x,
            block.expanded,
            f"{path}_depthwise",
            block.activation,
            kernel_size=block.kernel_size,
            strides=strides,
            rate=rate,
        )
        if block.excited:
            hidden = _divisible(block.expanded // 4)
            excite = SqueezeExcitation(hidden=hidden, activation="hard_sigmoid", name=f"{path}_excite")
            x = keras.layers.Multiply(name=f"{path}_multiply")([x, excite(x)])
        x = convolution(x, block.filters, f"{path}_project", None)
        if block.strides == 1 and entry.shape[-1] == block.filters:
            x = keras.layers.Add(name=f"{path}_add")([entry, x])
        first = x if block.strides == 2 else first
    if variant.last:
        x = convolution(x, variant.last, "last", variant.activation)
    encoder = keras.Model(image, [*features, x], name="encoder")
    if weights == "imagenet":
        url = ADDRESSES[name]
        digits = url.rpartition("-")[2].removesuffix(".pth")
        arrays = convert(checkpoints.read(download.fetch(url, sha256=digits)), name)
        arrays["stem_conv/kernel"] = adapt_kernel(arrays["stem_conv/kernel"], input_shape[-1])
        pretrained.load(encoder, arrays)
    return encoder


def convert(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Converts the weights of a MobileNet of torchvision, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.
        name: A key of `VARIANTS`.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> state = {"features.0.1.bias": np.ones(32), "features.18.1.bias": np.ones(1280)}
        >>> list(convert(state, "mobilenet_v2_torchvision"))
        ['stem_norm/beta']
    """
    last = () if VARIANTS[name].last else (f"features.{len(VARIANTS[name].blocks) + 1}",)
    inside = checkpoints.unwrapped(state, known := checkpoints.below(rules(name), "features.", ""))
    heads = ("classifier", *last)
    kept = {key: array for key, array in inside.items() if not any(checkpoints.within(key, head) for head in heads)}
    return checkpoints.rename(kept, known)


def _divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple, unless it is more than 10 % smaller; at least the divisor."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def _rates(blocks: Sequence[Block], output_stride: int, multi_grid: Sequence[int]) -> Iterator[int]:
    """The dilation rates of the depthwise convolutions, as in `kseg.encoders.resnet`."""
    full, stride = [], 2
    for block in blocks:
        stride *= block.strides
        full.append(max(1, stride // output_stride))
    return shifted_rates(full, multi_grid)
