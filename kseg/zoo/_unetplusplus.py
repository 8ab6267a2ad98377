"""U-Net++: a U-Net whose skips are nets of blocks themselves, densely connected."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import SegmentationHead, UNetBlock
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo._builder import builder


@builder
def unetplusplus(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    filters: Sequence[int] = (256, 128, 64, 32, 16),
    batch_norm: bool = True,
    attention: str | None = None,
    interpolation: str = "nearest",
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds U-Net++ on any encoder, in the form of segmentation-models-pytorch, without deep supervision.

    Column 0 of the nodes is the encoder. Node (i, j), at level i from the finest, upsamples node (i + 1, j - 1) and
    concatenates all nodes before it at its level. The last nodes of the levels are the decoder of a U-Net; the nodes
    between have as many channels as the encoder at their level. One more block leads to the size of the image.

    Args:
        filters: Number of channels of the decoder's blocks, coarsest first; further ones are not used.
        batch_norm: Whether batch normalization follows the convolutions.
        attention: None, or `"scse"` for `kseg.layers.ChannelSpatialExcitation` in every block.
        interpolation: How the blocks upsample, `"nearest"` or `"bilinear"`.

    Reference:
        Zhou, Siddiquee, Tajbakhsh, Liang: UNet++: A Nested U-Net Architecture for Medical Image Segmentation, 2018,
        https://arxiv.org/abs/1807.10165

    Example:
        >>> unetplusplus(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    levels = len(features.skips)
    if len(filters) <= levels:
        raise ValueError(f"filters has {len(filters)} widths for the {levels + 1} features of the encoder")

    def block(width: int, name: str) -> UNetBlock:
        return UNetBlock(width, normalization=batch_norm, attention=attention, interpolation=interpolation, name=name)

    nodes = {(level, 0): feature for level, feature in enumerate([*features.skips, features.coarsest])}
    for column in range(1, levels + 1):
        for level in range(levels + 1 - column):
            before = [nodes[level, each] for each in reversed(range(column))]
            skip = keras.layers.Concatenate(name=f"skip_{level}_{column}")(before) if column > 1 else before[0]
            width = filters[levels - 1 - level] if level == levels - column else before[-1].shape[-1]
            nodes[level, column] = block(width, f"node_{level}_{column}")(nodes[level + 1, column - 1], skip)
    x = block(filters[levels], "last")(nodes[0, levels])
    logits = SegmentationHead(num_classes, kernel_size=3, activation=activation, name="head")(x, like=image)
    return keras.Model(image, logits, name="unetplusplus")


def _smp_rules(options: _smp_table.Options) -> Rules:
    levels, attention = options["encoder_depth"] - 1, options["decoder_attention_type"]
    rules = _smp_table.unet_block(f"decoder.blocks.x_0_{levels}", "last", attention, skip=False)
    for column in range(1, levels + 1):
        for level in range(levels + 1 - column):
            end = levels - 1 - level  # that library counts levels from the coarsest, and columns from the longest row
            rules += _smp_table.unet_block(
                f"decoder.blocks.x_{end + 1 - column}_{end}", f"node_{level}_{column}", attention
            )
    return rules


def _smp_unused(options: _smp_table.Options) -> _smp_table.Shapes:
    found = dict(_smp_table.unused_attention(f"decoder.blocks.x_0_{options['encoder_depth'] - 1}", options))
    if not _smp_table.at_center(options):
        return found
    channels = encoders.vgg.VARIANTS[_smp_encoders.ENCODERS[options["encoder_name"]].variant].filters[-1]
    for index in (0, 1):  # that library makes these convolutions, but does not call them
        module = f"decoder.center.{index}"
        found[f"{module}.0.weight"] = (channels, channels, 3, 3)
        if options["decoder_use_norm"] == "identity":
            found[f"{module}.0.bias"] = (channels,)
        else:
            found |= {f"{module}.1.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}
            found[f"{module}.1.num_batches_tracked"] = ()
    return found


_smp_table.register(
    "UnetPlusPlus",
    "unetplusplus",
    {
        "decoder_channels": _smp_table.Option("filters", (256, 128, 64, 32, 16)),
        "decoder_use_norm": _smp_table.NORM,
        "decoder_attention_type": _smp_table.ATTENTION,
        "decoder_interpolation": _smp_table.INTERPOLATION,
    },
    rules=_smp_rules,
    unused=_smp_unused,
    empty=False,
)
