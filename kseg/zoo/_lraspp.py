"""LR-ASPP: MobileNetV3's segmentation head of a few 1x1 convolutions, weighted by a mean over the image."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import Conv2D, ConvNormAct, Resize, SegmentationHead, check_activation
from kseg.zoo._builder import builder


@builder
def lraspp(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "mobilenet_v3_large_torchvision",
    encoder_weights: str | os.PathLike | None = "imagenet",
    output_stride: int = 16,
    multi_grid: Sequence[int] | None = None,
    filters: int = 128,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds LR-ASPP: scores of the features at stride 8, and of the weighted coarsest features.

    The coarsest features are projected, and each channel is multiplied by a weight that is computed from the means of
    all channels over the image. torchvision's model is `multi_grid=(1, 1, 1)` on the encoder
    `{"name": "mobilenet_v3_large_torchvision", "first_blocks": True}`. (The paper averages windows of 49x49 pixels.)

    Args:
        output_stride: 16 or 32: the stride of the encoder's last features; a later stride becomes dilation.
        multi_grid: Factors for the dilation rates of the last spatial convolutions.
        filters: Number of channels of the projection.

    Reference:
        Howard et al.: Searching for MobileNetV3, 2019, https://arxiv.org/abs/1905.02244

    Example:
        >>> lraspp(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if output_stride not in (16, 32):
        raise ValueError(f"output_stride must be 16 or 32, got {output_stride!r}")
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image, encoder, weights=encoder_weights, output_stride=output_stride, multi_grid=multi_grid
    )
    fine, coarse = features[8], features.coarsest
    x = ConvNormAct(filters, 1, name="project")(coarse)
    scale = keras.layers.GlobalAveragePooling2D(keepdims=True, name="mean")(coarse)
    scale = Conv2D(filters, 1, use_bias=False, activation="sigmoid", name="scale_conv")(scale)
    x = keras.layers.Multiply(name="multiply")([x, scale])
    x = Resize(name="enlarge")(x, like=fine)
    scores = [SegmentationHead(num_classes, name=f"score_{name}")(y) for name, y in (("fine", fine), ("coarse", x))]
    x = keras.layers.Add(dtype="float32", name="add")(scores)
    x = Resize(dtype="float32", name="resize")(x, like=image)
    if activation:
        layer = keras.layers.Activation(activation, dtype="float32", name="activation")
        check_activation(layer, activation, num_classes)
        x = layer(x)
    return keras.Model(image, x, name="lraspp")


TORCHVISION: Rules = (
    (r"classifier\.cbr\.0", "project/conv"),
    (r"classifier\.cbr\.1", "project/norm"),
    (r"classifier\.scale\.1", "scale_conv"),
    (r"classifier\.low_classifier", "score_fine/conv"),
    (r"classifier\.high_classifier", "score_coarse/conv"),
)
"""From the modules of torchvision's LR-ASPP, without its encoder, to the layers of `lraspp`."""
