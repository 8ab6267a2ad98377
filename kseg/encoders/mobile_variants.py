"""MobileNetV2, MobileNetV3, EfficientNet and EfficientNet-Lite as tables of inverted residuals."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Block(NamedTuple):
    """An inverted residual: expanded by a 1x1 convolution, convolved depthwise, projected by a 1x1 convolution.

    Attributes:
        kernel_size: Kernel size of the depthwise convolution.
        expanded: Number of channels of the depthwise convolution.
        filters: Number of channels of the output.
        strides: 1 or 2.
        activation: Name of the activation.
        hidden: Number of hidden channels of the squeeze-and-excitation behind the depthwise convolution; 0 for none.
    """

    kernel_size: int
    expanded: int
    filters: int
    strides: int
    activation: str
    hidden: int = 0


class Variant(NamedTuple):
    """A network.

    Attributes:
        stem: Number of channels of the first convolution.
        activation: Name of the activation of the first and the last convolution.
        blocks: The blocks.
        stages: Number of blocks of each stage in timm.
        last: Number of channels of the convolution behind the blocks; 0 if it only serves the classifier.
        ends_with_last: Whether the last feature is the output of that convolution, unless other features are chosen.
        momentum: Momentum of batch normalization.
        epsilon: Epsilon of batch normalization.
        padding: `"symmetric"` or `"same"`.
        excitation: Names of the two activations of squeeze-and-excitation.
        side: Side of the images for which efficientnet-pytorch computes its padding.
    """

    stem: int
    activation: str
    blocks: tuple[Block, ...]
    stages: tuple[int, ...]
    last: int = 0
    ends_with_last: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    padding: str = "symmetric"
    excitation: tuple[str, str] = ("relu", "hard_sigmoid")
    side: int = 0


# Expansion, kernel size, filters, repeats, strides, activation and excitation of the blocks, and the number of rows of
# each stage in timm.
_SECOND = (
    ((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 3, 32, 3, 2), (6, 3, 64, 4, 2), (6, 3, 96, 3, 1), (6, 3, 160, 3, 2),
     (6, 3, 320, 1, 1)),
    (1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip
_LARGE = (
    ((1, 3, 16, 1, 1, "relu", 0), (4, 3, 24, 1, 2, "relu", 0), (3, 3, 24, 1, 1, "relu", 0),
     (3, 5, 40, 3, 2, "relu", 1), (6, 3, 80, 1, 2, "", 0), (2.5, 3, 80, 1, 1, "", 0), (2.3, 3, 80, 2, 1, "", 0),
     (6, 3, 112, 2, 1, "", 1), (6, 5, 160, 3, 2, "", 1)),
    (1, 2, 1, 3, 1, 1),
)  # fmt: skip
_SMALL = (
    ((1, 3, 16, 1, 2, "relu", 1), (4.5, 3, 24, 1, 2, "relu", 0), (3.67, 3, 24, 1, 1, "relu", 0),
     (4, 5, 40, 1, 2, "", 1), (6, 5, 40, 2, 1, "", 1), (3, 5, 48, 2, 1, "", 1), (6, 5, 96, 3, 2, "", 1)),
    (1, 2, 2, 1, 1),
)  # fmt: skip
_EFFICIENT = (
    ((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2),
     (6, 3, 320, 1, 1)),
    (1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip


def divisible(value: float) -> int:
    """Returns the nearest multiple of 8, unless it is more than 10 % smaller; at least 8.

    Example:
        >>> divisible(88.08), divisible(35.2), divisible(11)
        (88, 32, 16)
    """
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * value else nearest


def _second(width: float = 1.0) -> Variant:
    stem = entry = divisible(32 * width)
    blocks = []
    for expansion, kernel_size, channels, repeats, strides in _SECOND[0]:
        filters = divisible(channels * width)
        for repeat in range(repeats):
            blocks.append(Block(kernel_size, expansion * entry, filters, 1 if repeat else strides, "relu6"))
            entry = filters
    last = max(1280, divisible(1280 * width))
    return Variant(stem, "relu6", tuple(blocks), tuple(row[3] for row in _SECOND[0]), last)


def _third(size: str, width: float = 1.0, *, minimal: bool = False, **facts: Any) -> Variant:
    rows, stages = _LARGE if size == "large" else _SMALL
    stem = entry = divisible(16 * width)
    activation = "relu" if minimal else "hard_silu"
    blocks = []
    for expansion, kernel_size, channels, repeats, strides, own, excited in rows:
        filters = divisible(channels * width)
        for repeat in range(repeats):
            expanded = entry if expansion == 1 else divisible(entry * expansion)
            hidden = divisible(expanded / 4) if excited and not minimal else 0
            kernel = 3 if minimal else kernel_size
            used = activation if minimal else own or activation
            blocks.append(Block(kernel, expanded, filters, 1 if repeat else strides, used, hidden))
            entry = filters
    counts, position = [], 0
    for count in stages:
        counts.append(sum(row[3] for row in rows[position : position + count]))
        position += count
    last = divisible((960 if size == "large" else 576) * width)
    return Variant(stem, activation, tuple(blocks), tuple(counts), last, True, **facts)


def _efficient(width: float, depth: float, *, side: int = 0) -> Variant:
    """An EfficientNet; an EfficientNet-Lite if `side` is 0."""
    lite = not side
    activation = "relu6" if lite else "silu"
    stem = entry = 32 if lite else divisible(32 * width)
    blocks, counts = [], []
    for stage, (expansion, kernel_size, channels, repeats, strides) in enumerate(_EFFICIENT[0]):
        filters = divisible(channels * width)
        counts.append(repeats if lite and stage in (0, len(_EFFICIENT[0]) - 1) else math.ceil(depth * repeats))
        for repeat in range(counts[-1]):
            hidden = 0 if lite else entry // 4
            blocks.append(Block(kernel_size, expansion * entry, filters, 1 if repeat else strides, activation, hidden))
            entry = filters
    return Variant(stem, activation, tuple(blocks), tuple(counts), excitation=("silu", "sigmoid"), side=side)


_TENSORFLOW: dict[str, Any] = {"momentum": 0.99, "epsilon": 1e-3, "padding": "same"}
_TORCHVISION: dict[str, Any] = {"momentum": 0.99, "epsilon": 1e-3}
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))
_SIDES = (224, 240, 260, 300, 380, 456, 528, 600)

SECOND = "mobilenet_v2_torchvision"
VARIANTS = {
    SECOND: _second(),
    "mobilenet_v3_small_torchvision": _third("small", **_TORCHVISION),
    "mobilenet_v3_large_torchvision": _third("large", **_TORCHVISION),
    **{
        f"mobilenet_v3_{size}_{form}_timm": _third(size, width, minimal=form == "minimal", **_TENSORFLOW)
        for size in ("small", "large")
        for form, width in (("075", 0.75), ("minimal", 1.0))
    },
    **{
        f"efficientnet_b{number}_timm": _efficient(*scales, side=side)
        for number, (scales, side) in enumerate(zip(_SCALES, _SIDES, strict=True))
    },
    **{f"efficientnet_lite{number}_timm": _efficient(*scales) for number, scales in enumerate(_SCALES[:5])},
}


def scaled(name: str, width: float) -> Variant:
    """Returns a network with another width multiplier, the factor of all numbers of channels; MobileNetV2 only.

    Raises:
        ValueError: If there is no form of the network with this width.

    Example:
        >>> channels(scaled("mobilenet_v2_torchvision", 0.5))
        (8, 16, 16, 48, 160)
    """
    if width == 1:
        return VARIANTS[name]
    if name != SECOND or width <= 0:
        raise ValueError(f"{name}: width must be {'positive' if name == SECOND else '1'}, got {width}")
    return _second(width)


def features(variant: Variant) -> tuple[int, ...]:
    """Returns the numbers of the blocks whose outputs are features: the last one at each stride.

    0 is the first convolution, and the number behind those of all blocks is the last convolution.

    Example:
        >>> features(VARIANTS["mobilenet_v2_torchvision"]), features(VARIANTS["mobilenet_v3_small_torchvision"])
        ((1, 3, 6, 13, 17), (0, 1, 3, 8, 12))
    """
    before = [index for index, block in enumerate(variant.blocks) if block.strides == 2]
    return (*before, len(variant.blocks) + variant.ends_with_last)


def channels(variant: Variant, numbers: Sequence[int] | None = None) -> tuple[int, ...]:
    """Returns the number of channels of each feature.

    Example:
        >>> channels(VARIANTS["efficientnet_b0_timm"])
        (16, 24, 40, 112, 320)
    """
    widths = [variant.stem, *(block.filters for block in variant.blocks), variant.last]
    return tuple(widths[number] for number in numbers or features(variant))
