"""MobileViT, as in timm and transformers, whose weight files it loads."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg.encoders.atrous import shifted_rates
from kseg.encoders.channels import TO_UNIT, Normalization
from kseg.encoders.mobile_variants import divisible
from kseg.encoders.mobilevit_names import BLOCKS, REPEATS, TIMM, TRANSFORMERS, convert
from kseg.encoders.stages import convolution
from kseg.encoders.stages import shortest as shortest_of
from kseg.layers import (
    ATTENTION_EPSILON,
    NORM_EPSILON,
    NORM_MOMENTUM,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    FitGrid,
    GridAttention,
    Resize,
)

__all__ = ["OPTIONS", "TIMM", "TRANSFORMERS", "VARIANTS", "build", "convert", "options", "shortest"]

# Channels of the first convolution and of the stages, channels of the attention, expansion, and dropout in training.
VARIANTS = {
    "mobilevit_xxs": ((16, 16, 24, 48, 64, 80), (64, 80, 96), 2, 0.05),
    "mobilevit_xs": ((16, 32, 48, 64, 80, 96), (96, 120, 144), 4, 0.1),
    "mobilevit_s": ((16, 32, 64, 96, 128, 160), (144, 192, 240), 4, 0.1),
}

OPTIONS = (
    "filters", "attention_filters", "expansion", "heads", "patch_side", "mlp_expansion", "dropout", "mean", "std",
)  # fmt: skip
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = None,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: Sequence[int] | None = None,
    attention_filters: Sequence[int] | None = None,
    expansion: float | None = None,
    heads: int = 4,
    patch_side: int = 2,
    mlp_expansion: float = 2,
    dropout: float | None = None,
    mean: Sequence[float] = TO_UNIT.mean,
    std: Sequence[float] = TO_UNIT.std,
) -> keras.Model:
    """Builds a MobileViT as an encoder, with the outputs of its five stages at strides 2, 4, 8, 16 and 32.

    The first two stages consist of inverted residuals. Each of the others has one, which halves the size, and a block
    with attention between the pixels at the same place of all patches. Maps that do not consist of whole patches are
    enlarged for the attention. Where a stride becomes dilation, the depthwise convolutions are dilated, except the one
    that loses its stride, which keeps the previous rate. The other convolutions are not dilated, as in transformers'
    networks.

    Args:
        name: A key of `VARIANTS`, which sets `filters`, `attention_filters`, `expansion` and `dropout`.
        input_shape: Height, width and channels of the image.
        weights: None; `kseg.encoders.build` loads timm's.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last depthwise convolutions.
        filters: Number of channels of the first convolution and of the five stages.
        attention_filters: Number of channels of the attention of the last three stages.
        expansion: Factor of the number of channels inside an inverted residual.
        heads: Number of heads of the attention.
        patch_side: Side of a patch.
        mlp_expansion: Factor of the number of channels between the two dense layers of a transformer block.
        dropout: Fraction of the values that attention and dense layers add to drop during training.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If `attention_filters` are not multiples of the number of heads, or if `multi_grid` has too many
            factors.

    Reference:
        Mehta, Rastegari: MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer, 2021,
        https://arxiv.org/abs/2110.02178
    """
    given = {"filters": filters, "attention_filters": attention_filters, "expansion": expansion, "dropout": dropout}
    known = {**options(name), **{key: value for key, value in given.items() if value is not None}}
    (first, *widths), factor, drop = known["filters"], known["expansion"], known["dropout"]
    full = [max(1, 2**stage // output_stride) for stage, repeats in enumerate(REPEATS, start=1) for _ in range(repeats)]
    rates = shifted_rates(full, multi_grid)
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = _silu(convolution(x, "stem_conv", first, 3, strides=2), "stem")
    features = []
    for stage, (width, repeats) in enumerate(zip(widths, REPEATS, strict=True), start=1):
        for repeat in range(repeats):
            strides = 2 if stage > 1 and repeat == 0 else 1
            lost = strides == 2 and 2**stage > output_stride
            path = f"stage{stage}_{repeat}"
            expanded = divisible(round(x.shape[-1] * factor))
            y = _silu(convolution(x, f"{path}_expand_conv", expanded, 1), f"{path}_expand")
            y = _silu(_depthwise(y, f"{path}_depthwise", 1 if lost else strides, next(rates)), f"{path}_depthwise")
            y = convolution(y, f"{path}_project_conv", width, 1)
            x = keras.layers.Add(name=f"{path}_add")([x, y]) if strides == 1 and x.shape[-1] == width else y
        if stage in BLOCKS:
            inside = known["attention_filters"][stage - 3]
            y = _silu(convolution(x, f"stage{stage}_local_conv", width, 3), f"stage{stage}_local")
            y = Conv2D(inside, 1, use_bias=False, name=f"stage{stage}_enter_conv")(y)
            y = _attended(y, stage, heads, patch_side, int(inside * mlp_expansion), drop)
            y = _silu(convolution(y, f"stage{stage}_leave_conv", width, 1), f"stage{stage}_leave")
            y = keras.layers.Concatenate(name=f"stage{stage}_concatenate")([x, y])
            x = _silu(convolution(y, f"stage{stage}_fuse_conv", width, 3), f"stage{stage}_fuse")
        features.append(x)
    return keras.Model(image, features, name="encoder")


def options(name: str) -> dict[str, Any]:
    """Returns the options of a variant and their values, the keys in `OPTIONS`."""
    known = dict(zip(("filters", "attention_filters", "expansion", "dropout"), VARIANTS[name], strict=True))
    defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
    return {**{key: defaults[key] for key in OPTIONS}, **known}


def shortest(given: Mapping[str, Any]) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Example:
        >>> shortest({"filters": [16, 32, 64, 96, 128, 160], "heads": 2})
        {'name': 'mobilevit_s', 'heads': 2}
    """
    return shortest_of(given, VARIANTS, options)


def _attended(x: keras.KerasTensor, stage: int, heads: int, patch_side: int, hidden: int, drop: float) -> Any:
    """Applies the transformer blocks of a stage, at a size that consists of whole patches."""
    y = FitGrid(patch_side, name=f"stage{stage}_fit")(x)
    for repeat in range(BLOCKS[stage]):
        block = f"stage{stage}_block{repeat}"
        z = _norm(f"{block}_norm1")(y)
        z = GridAttention(heads, step=patch_side, name=f"{block}_attention")(z)
        z = keras.layers.Dropout(drop, name=f"{block}_attention_drop")(z)
        y = keras.layers.Add(name=f"{block}_attention_add")([y, z])
        z = _norm(f"{block}_norm2")(y)
        z = _silu(keras.layers.Dense(hidden, name=f"{block}_mlp_expand")(z), block)
        z = keras.layers.Dense(x.shape[-1], name=f"{block}_mlp_project")(z)
        z = keras.layers.Dropout(drop, name=f"{block}_mlp_drop")(z)
        y = keras.layers.Add(name=f"{block}_mlp_add")([y, z])
    y = _norm(f"stage{stage}_blocks_norm")(y)
    return Resize(name=f"stage{stage}_unfit")(y, like=x)


def _depthwise(x: keras.KerasTensor, path: str, strides: int, rate: int) -> keras.KerasTensor:
    if strides > 1:  # "same" would pad even sizes on the far side only
        x = keras.layers.ZeroPadding2D(1, name=f"{path}_pad")(x)
    spatial: dict[str, Any] = {"strides": strides, "dilation_rate": rate, "padding": "valid" if strides > 1 else "same"}
    x = DepthwiseConv2D(3, **spatial, use_bias=False, depthwise_initializer="he_normal", name=f"{path}_conv")(x)
    return BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"{path}_norm")(x)


def _silu(x: keras.KerasTensor, path: str) -> keras.KerasTensor:
    return keras.layers.Activation("silu", name=f"{path}_silu")(x)


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=ATTENTION_EPSILON, name=name)
