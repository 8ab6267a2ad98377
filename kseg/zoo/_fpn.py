"""Panoptic FPN's segmentation branch: a feature pyramid whose levels are upsampled step by step and added."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import Conv2D, Resize, SegmentationHead
from kseg.zoo import _smp_table
from kseg.zoo._builder import builder

GROUPS = 32
"""Groups of channels that are normalized together."""


@builder
def fpn(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    pyramid_filters: int = 256,
    filters: int = 128,
    merge: str = "add",
    interpolation: str = "nearest",
    dropout: float = 0.2,
    align_corners: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FPN for semantic segmentation, as in segmentation-models-pytorch.

    The pyramid has four levels: features of one number of channels, to which the next coarser level is added. From each
    level, 3x3 convolutions with group normalization lead to the finest size, one for each doubling of the size. The
    pyramid has no 3x3 convolutions of its own, which detectors add. The model of segmentation-models-pytorch has
    `align_corners=True`.

    Args:
        encoder_depth: 4 or 5: how often the stages of the encoder that are used halve the size. The levels are the last
            four of them.
        pyramid_filters: Number of channels of the pyramid.
        filters: Number of channels of the 3x3 convolutions, a multiple of 32.
        merge: How the upsampled levels are merged, `"add"` or `"concatenate"`.
        interpolation: How the pyramid upsamples, `"nearest"` or `"bilinear"`.
        align_corners: Whether the convolved levels and the logits are upsampled with aligned corners.

    Reference:
        Kirillov, Girshick, He, Dollar: Panoptic Feature Pyramid Networks, 2019, https://arxiv.org/abs/1901.02446

    Example:
        >>> fpn(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if merge not in ("add", "concatenate"):
        raise ValueError(f'merge must be "add" or "concatenate", got {merge!r}')
    if filters % GROUPS:
        raise ValueError(f"filters must be a multiple of {GROUPS}, which are normalized in groups, got {filters}")
    if encoder_depth not in (4, 5):
        raise ValueError(f"encoder_depth must be 4 or 5, because the pyramid has four levels, got {encoder_depth}")
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    strides = _strides(encoder_depth)
    pyramid: dict[int, keras.KerasTensor] = {}
    for stride in strides:
        x = Conv2D(pyramid_filters, 1, name=f"lateral_{stride}")(features[stride])
        if pyramid:
            coarse = Resize(interpolation=interpolation, name=f"enlarge_{stride}")(pyramid[2 * stride], like=x)
            x = keras.layers.Add(name=f"add_{stride}")([coarse, x])
        pyramid[stride] = x
    levels = []
    for index, stride in enumerate(strides):
        x = pyramid[stride]
        for target in strides[index + 1 :] or [stride]:
            name = f"level_{stride}_to_{target}"
            x = Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(
                x
            )
            x = keras.layers.GroupNormalization(GROUPS, epsilon=1e-5, dtype="float32", name=f"{name}_norm")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
            if target < stride:
                x = Resize(align_corners=align_corners, name=f"{name}_enlarge")(x, like=pyramid[target])
        levels.append(x)
    x = keras.layers.Add(name="merge")(levels) if merge == "add" else keras.layers.Concatenate(name="merge")(levels)
    x = keras.layers.SpatialDropout2D(dropout, name="dropout")(x)
    factor = min(pyramid) if align_corners else None
    logits = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    return keras.Model(image, logits, name="fpn")


def _strides(encoder_depth: int) -> list[int]:
    """The strides of the pyramid, coarsest first."""
    return [2 ** (encoder_depth - level) for level in range(4)]


def _smp_rules(options: _smp_table.Options) -> Rules:
    strides = _strides(options["encoder_depth"])
    rules = _smp_table.named("decoder.p5", f"lateral_{strides[0]}")
    for index, stride in enumerate(strides):
        rules += _smp_table.named(f"decoder.p{5 - index}.skip_conv", f"lateral_{stride}") if index else []
        for step, target in enumerate(strides[index + 1 :] or [stride]):
            module, name = f"decoder.seg_blocks.{index}.block.{step}.block", f"level_{stride}_to_{target}"
            rules += [
                *_smp_table.named(f"{module}.0", f"{name}_conv"),
                *_smp_table.named(f"{module}.1", f"{name}_norm"),
            ]
    return rules


_smp_table.register(
    "FPN",
    "fpn",
    {
        "encoder_depth": _smp_table.Option("encoder_depth", 5, {4: 4, 5: 5}),
        "decoder_pyramid_channels": _smp_table.Option("pyramid_filters", 256),
        "decoder_segmentation_channels": _smp_table.Option("filters", 128),
        "decoder_merge_policy": _smp_table.Option("merge", "add", {"add": "add", "cat": "concatenate"}),
        "decoder_dropout": _smp_table.Option("dropout", 0.2),
        "decoder_interpolation": _smp_table.INTERPOLATION,
        "upsampling": _smp_table.Option(None, 4),
    },
    arguments=lambda options: {"align_corners": True},
    upsampling=lambda options: _strides(options["encoder_depth"])[-1],
    rules=_smp_rules,
)
