"""DeepLab: dilation instead of the last strides, and context at several rates."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import ASPP, SegmentationHead


def deeplabv3(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    multi_grid: Sequence[int] | None = None,
    filters: int = 256,
    dropout: float = 0.1,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLabV3: atrous spatial pyramid pooling with image pooling on a dilated encoder.

    V3 concatenates the pyramid's branches (V2 sums scores). The logits are upsampled bilinearly, not the labels shrunk.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        output_stride: 8 or 16: the stride at which the encoder's features end, by dilation instead of striding.
        rates: Dilation rates of the pyramid; None for the paper's (6, 12, 18) at stride 16, doubled at stride 8.
        multi_grid: Factors on the dilation of the last stage's blocks, e.g. the paper's (1, 2, 4), which it found best
            for a ResNet at stride 16; None leaves them alike, as torchvision does.
        filters: Channels of every branch.
        dropout: Dropped share of the pyramid's output.
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        weights: A file of trained weights.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`.

    Raises:
        ValueError: An unknown encoder, an output stride that it cannot give, or a `num_classes` that contradicts
            `weights`.

    Reference:
        Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017,
        https://arxiv.org/abs/1706.05587

    Example:
        >>> model = deeplabv3(3, encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.output_shape
        (None, 64, 65, 3)
    """
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16, got {output_stride}")
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image, encoder, weights=encoder_weights, output_stride=output_stride, multi_grid=multi_grid
    )
    encoders.require(features, [output_stride], "deeplabv3")
    rates = rates or [rate * 16 // output_stride for rate in (6, 12, 18)]
    x = ASPP(filters, rates, dropout=dropout, name="aspp")(features[output_stride])
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x, like=image)
    return pretrained.load(keras.Model(image, logits, name="deeplabv3"), weights)
