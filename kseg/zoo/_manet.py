"""MA-Net: a U-Net whose coarsest features attend to each other, and whose blocks weight channels by both inputs."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import ConvNormAct, PositionAttention, SegmentationHead, SqueezeExcitation, UNetBlock
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo._builder import builder


@builder
def manet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    filters: Sequence[int] = (256, 128, 64, 32, 16),
    attention_filters: int = 64,
    interleaved: bool = False,
    batch_norm: bool = True,
    interpolation: str = "nearest",
    full_size: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds MA-Net on any encoder, in the form of segmentation-models-pytorch, which has `interleaved=True`.

    The coarsest features pass through position attention, whose memory grows with the square of the number of their
    pixels. Each block of the decoder weights its channels by the means of the coarse features and of the encoder's
    features, and continues as that of U-Net.

    Args:
        filters: Number of channels of the blocks, coarsest first; further ones are not used.
        attention_filters: Number of channels in which the position attention compares pixels.
        interleaved: Whether the position attention computes what segmentation-models-pytorch does, which its weights
            need; see `kseg.layers.PositionAttention`.
        batch_norm: Whether batch normalization follows the convolutions.
        interpolation: How the blocks upsample, `"nearest"` or `"bilinear"`.
        full_size: Whether blocks without skips follow until the size of the image on every encoder, as in
            segmentation-models-pytorch on MiT.

    Reference:
        Fan, Wang, Li, Wang: MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation, 2020,
        https://ieeexplore.ieee.org/document/9201310

    Example:
        >>> manet(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    skips = [*reversed(features.skips), *features.beyond(full_size=full_size)]
    if len(filters) < len(skips):
        raise ValueError(f"filters has {len(filters)} widths for {len(skips)} blocks on this encoder")
    x = PositionAttention(attention_filters, interleaved=interleaved, name="position")(features.coarsest)
    for level, (width, skip) in enumerate(zip(filters[: len(skips)], skips, strict=True), start=1):
        name = f"decoder_{level}"
        if skip is not None:
            x = ConvNormAct(x.shape[-1], normalization=batch_norm, name=f"{name}_coarse_1")(x)
            x = ConvNormAct(skip.shape[-1], 1, normalization=batch_norm, name=f"{name}_coarse_2")(x)
            gates = [SqueezeExcitation(name=f"{name}_gate_{each}") for each in ("coarse", "skip")]
            gate = keras.layers.Add(name=f"{name}_gate")([gates[0](x), gates[1](skip)])
            x = keras.layers.Multiply(name=f"{name}_weighted")([x, gate])
        x = UNetBlock(width, normalization=batch_norm, interpolation=interpolation, name=name)(x, skip)
    logits = SegmentationHead(num_classes, kernel_size=3, activation=activation, name="head")(x, like=image)
    return keras.Model(image, logits, name="manet")


def _smp_rules(options: _smp_table.Options) -> Rules:
    rules: list[tuple[str, str]] = []
    for module, name in (("top", "key"), ("center", "query"), ("bottom", "value"), ("out", "output")):
        rules += _smp_table.named(f"decoder.center.{module}_conv", f"position/{name}")
    for index in range(options["encoder_depth"]):
        module, name = f"decoder.blocks.{index}", f"decoder_{index + 1}"
        rules += _smp_table.unet_block(module, name)
        rules += _smp_table.conv_norm(f"{module}.hl_conv.0", f"{name}_coarse_1")
        rules += _smp_table.conv_norm(f"{module}.hl_conv.1", f"{name}_coarse_2")
        rules += _smp_table.excitation(f"{module}.SE_hl", f"{name}_gate_coarse")
        rules += _smp_table.excitation(f"{module}.SE_ll", f"{name}_gate_skip")
    return rules


_smp_table.register(
    "MAnet",
    "manet",
    {
        "decoder_channels": _smp_table.Option("filters", (256, 128, 64, 32, 16)),
        "decoder_use_norm": _smp_table.NORM,
        "decoder_pab_channels": _smp_table.Option("attention_filters", 64),
        "decoder_interpolation": _smp_table.INTERPOLATION,
    },
    arguments=lambda options: {"interleaved": True, "full_size": _smp_encoders.ENCODERS[options["encoder_name"]].empty},
    rules=_smp_rules,
)
