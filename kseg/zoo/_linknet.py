"""LinkNet: a decoder that upsamples by narrow transposed convolutions and adds the features of the encoder."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import (
    NORM_EPSILON,
    NORM_MOMENTUM,
    BatchNormalization,
    ConvNormAct,
    Resize,
    SegmentationHead,
    TransposeUpsampling2D,
)
from kseg.zoo import _smp_table
from kseg.zoo._builder import builder


@builder
def linknet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    filters: int = 32,
    batch_norm: bool = True,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds LinkNet on any encoder, in the form of segmentation-models-pytorch.

    Each block reduces the channels to a quarter, doubles the size by a transposed convolution, expands the channels to
    those of the encoder's features of that size, and adds these. The last block, at the size of the image, has no
    skip. (In the paper, the features at stride 2 are not added, and the end has two more convolutions.)

    The blocks are narrow if the encoder has few channels, and then learn slowly: at stride 4, the block has 6 channels
    with EfficientNet-Lite0 and 16 with ResNet-18.

    Args:
        filters: Number of channels of the last block.
        batch_norm: Whether batch normalization follows the convolutions.

    Reference:
        Chaurasia, Culurciello: LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation, 2017,
        https://arxiv.org/abs/1707.03718

    Example:
        >>> linknet(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    x = features.coarsest
    for level, skip in enumerate([*reversed(features.skips), None], start=1):
        x = _block(x, filters if skip is None else skip.shape[-1], batch_norm, f"decoder_{level}")
        if skip is not None:
            x = Resize(interpolation="nearest", name=f"decoder_{level}_match")(x, like=skip)  # odd sizes were rounded
            x = keras.layers.Add(name=f"decoder_{level}_add")([x, skip])
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x, like=image)
    return keras.Model(image, logits, name="linknet")


def _block(x: keras.KerasTensor, filters: int, batch_norm: bool, name: str) -> keras.KerasTensor:
    narrow = x.shape[-1] // 4
    x = ConvNormAct(narrow, 1, normalization=batch_norm, name=f"{name}_reduce")(x)
    x = TransposeUpsampling2D(
        narrow, kernel_size=4, kernel_initializer="he_normal", use_bias=True, name=f"{name}_double"
    )(x)
    if batch_norm:
        x = BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"{name}_double_norm")(x)
    x = keras.layers.ReLU(name=f"{name}_double_relu")(x)
    return ConvNormAct(filters, 1, normalization=batch_norm, name=f"{name}_expand")(x)


def _smp_rules(options: _smp_table.Options) -> Rules:
    rules: list[tuple[str, str]] = []
    for index in range(options["encoder_depth"]):
        module, name = f"decoder.blocks.{index}.block", f"decoder_{index + 1}"
        rules += _smp_table.conv_norm(f"{module}.0", f"{name}_reduce")
        rules += [
            *_smp_table.named(f"{module}.1.0", f"{name}_double"),
            *_smp_table.named(f"{module}.1.1", f"{name}_double_norm"),
        ]
        rules += _smp_table.conv_norm(f"{module}.2", f"{name}_expand")
    return rules


_smp_table.register("Linknet", "linknet", {"decoder_use_norm": _smp_table.NORM}, rules=_smp_rules, empty=False)
