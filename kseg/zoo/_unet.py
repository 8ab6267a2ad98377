"""U-Net: a decoder that upsamples step by step and concatenates the features of the encoder at each size."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import (
    Conv2D,
    ConvNormAct,
    CropLike,
    Resize,
    SegmentationHead,
    TransposeUpsampling2D,
    UNetBlock,
    UnpaddedSize,
)
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo._builder import builder


@builder
def unet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    filters: Sequence[int] = (256, 128, 64, 32, 16),
    batch_norm: bool = True,
    attention: str | None = None,
    interpolation: str = "nearest",
    doubling: bool = False,
    center: bool = False,
    full_size: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds a U-Net on any encoder, in the form that is customary in PyTorch libraries.

    Each block doubles the size, concatenates the encoder's features of that size and convolves twice. The last block,
    at the size of the image, has no skip. On an encoder whose first stride is 4 (ConvNeXt), the blocks end at stride 2,
    the last value of `filters` is not used, and the logits are upsampled; `full_size` adds a block.

    Args:
        filters: Number of channels of the blocks, coarsest first; those beyond the number of blocks are not used.
        batch_norm: Whether batch normalization follows the convolutions.
        attention: None, or `"scse"` for `kseg.layers.ChannelSpatialExcitation` in every block.
        interpolation: How the blocks upsample, `"nearest"` or `"bilinear"`; the latter resizes to the image in the last
            block.
        doubling: Whether blocks copy the pixels that segmentation-models-pytorch copies with `"nearest"`, see
            `kseg.layers.UNetBlock`, instead of resizing to the skip. The results differ at sizes that are not divisible
            by 32.
        center: Whether two convolutions precede the blocks, as in segmentation-models-pytorch on VGG.
        full_size: Whether blocks without skips follow until the size of the image on every encoder, as in
            segmentation-models-pytorch on MiT.

    Reference:
        Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015,
        https://arxiv.org/abs/1505.04597

    Example:
        >>> unet(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    skips = [*reversed(features.skips), *features.beyond(full_size=full_size)]
    if len(filters) < len(skips):
        raise ValueError(f"filters has {len(filters)} widths for {len(skips)} blocks on this encoder")
    x = features.coarsest
    for index in (1, 2) if center else ():
        x = ConvNormAct(x.shape[-1], normalization=batch_norm, name=f"center_{index}")(x)
    to_image = (doubling or interpolation == "bilinear") and (full_size or min(features.by_stride) == 2)
    for level, (width, skip) in enumerate(zip(filters[: len(skips)], skips, strict=True), start=1):
        block = UNetBlock(
            width,
            normalization=batch_norm,
            doubling=doubling,
            interpolation=interpolation,
            attention=attention,
            stride=2 ** (len(skips) - level) if to_image and skip is None else 1,
            name=f"decoder_{level}",
        )
        x = block(x, skip, like=image if to_image and skip is None else None)
    logits = SegmentationHead(num_classes, kernel_size=3, activation=activation, name="head")(x, like=image)
    return keras.Model(image, logits, name="unet")


@builder
def unet_2015(
    num_classes: int,
    *,
    filters: Sequence[int] = (64, 128, 256, 512, 1024),
    padding: str = "valid",
    batch_norm: bool = False,
    up: str = "transposed",
    dropout: float = 0.5,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 1),
) -> keras.Model:
    """Builds the network of the U-Net paper: unpadded convolutions and cropped skips (572 pixels give 388).

    Without padding, the sides of an image must be 12 more than a multiple of 16, and at least 188; the logits are 184
    pixels smaller, 92 on each side. `kseg.losses.border_weights` computes the weight map of the paper. There are no
    pretrained weights for the encoder.

    Args:
        filters: Number of channels of the levels, finest first.
        padding: `"valid"`, as in the paper, or `"same"`, for images of any size and logits of the same size.
        batch_norm: Whether BatchNorm follows every 3x3 convolution.
        up: How the decoder doubles the size: `"transposed"`, a 2x2 transposed convolution, or `"bilinear"` resizing
            followed by a 2x2 convolution.
        dropout: Fraction of features to drop after each of the last two levels of the encoder.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H - 184, W - 184, num_classes)`, or of the
        image's size with `padding="same"`.

    Raises:
        ValueError: If unpadded convolutions cannot take the size; the message names the nearest sizes.

    Reference:
        Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015,
        https://arxiv.org/abs/1505.04597

    Example:
        >>> unet_2015(2, filters=(4, 8, 8, 16, 16), input_shape=(572, 572, 1)).output_shape
        (None, 388, 388, 2)
    """
    if padding not in ("valid", "same") or up not in ("transposed", "bilinear"):
        raise ValueError(f'padding is "valid" or "same", up "transposed" or "bilinear", got {padding!r} and {up!r}')
    size = UnpaddedSize(len(filters), name="size")
    if padding == "valid":
        size.check((None, *input_shape))

    def twice(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        for index in (1, 2):
            x = ConvNormAct(width, padding=padding, normalization=batch_norm, name=f"{name}_{index}")(x)
        return x

    pixels = keras.Input(input_shape, name="image")
    x = encoders.channels.TO_ONE.layer(pixels.shape[-1])(pixels)
    features = []
    for level, width in enumerate(filters, start=1):
        x = keras.layers.MaxPooling2D(2, padding=padding, name=f"pool{level}")(x) if level > 1 else x
        x = twice(x, width, f"conv{level}")  # valid: 568, 280, 136, 64, 28
        if level > len(filters) - 2:
            x = keras.layers.Dropout(dropout, name=f"dropout{level}")(x)
        features.append(x)
    encoder = keras.Model(pixels, features, name="encoder")

    image = keras.Input(input_shape, name="image")
    *skips, x = encoder(size(image) if padding == "valid" else image)
    for level, (width, skip) in reversed(list(enumerate(zip(filters[:-1], skips, strict=True), start=1))):
        if up == "transposed":
            x = TransposeUpsampling2D(
                width, kernel_size=2, kernel_initializer="he_normal", use_bias=True, name=f"up{level}"
            )(x)
        else:
            x = Resize(factor=2, name=f"enlarge{level}")(x)
            x = Conv2D(width, 2, padding="same", kernel_initializer="he_normal", name=f"up{level}")(x)
        if padding == "valid":
            skip = CropLike(name=f"crop{level}")(skip, like=x)  # 64 to 56, 136 to 104, 280 to 200, 568 to 392
        else:
            x = CropLike("corner", name=f"crop{level}")(x, like=skip)  # odd sizes were rounded up
        x = keras.layers.Concatenate(name=f"concatenate{level}")([skip, x])
        x = twice(x, width, f"decoder_{level}")
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x)
    return keras.Model(image, logits, name="unet_2015")


def _smp_rules(options: _smp_table.Options) -> Rules:
    blocks = range(options["encoder_depth"])
    center = [_smp_table.conv_norm(f"decoder.center.{index}", f"center_{index + 1}") for index in (0, 1)]
    return [
        *itertools.chain.from_iterable(center),
        *(
            rule
            for block in blocks
            for rule in _smp_table.unet_block(
                f"decoder.blocks.{block}",
                f"decoder_{block + 1}",
                options["decoder_attention_type"],
                skip=block < blocks[-1],
            )
        ),
    ]


def _smp_arguments(options: _smp_table.Options) -> dict[str, Any]:
    empty = _smp_encoders.ENCODERS[options["encoder_name"]].empty
    if empty and options["decoder_attention_type"]:
        raise ValueError(f"Unet: decoder_attention_type on {options['encoder_name']} has no counterpart in kseg")
    return {
        "doubling": options["decoder_interpolation"] == "nearest",
        "center": _smp_table.at_center(options),
        "full_size": empty,
    }


_smp_table.register(
    "Unet",
    "unet",
    {
        "decoder_channels": _smp_table.Option("filters", (256, 128, 64, 32, 16)),
        "decoder_use_norm": _smp_table.NORM,
        "decoder_attention_type": _smp_table.ATTENTION,
        "decoder_interpolation": _smp_table.INTERPOLATION,
    },
    arguments=_smp_arguments,
    rules=_smp_rules,
    unused=lambda options: _smp_table.unused_attention(f"decoder.blocks.{options['encoder_depth'] - 1}", options),
)
