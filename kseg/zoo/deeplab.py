"""DeepLabV3 and V3+: dilation instead of the last strides, and a pyramid of rates whose branches are concatenated."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import ASPP, ConvNormAct, CropLike, Resize, SegmentationHead
from kseg.zoo.fcn import auxiliary_head
from kseg.zoo.refinement import refined


@pretrained.builder
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
    extra_conv: bool = False,
    auxiliary: bool = False,
    align_corners: bool = False,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLabV3: atrous spatial pyramid pooling with image pooling on a dilated encoder.

    V3 concatenates the pyramid's branches (V2 sums scores). The logits are upsampled bilinearly, not the labels shrunk.
    torchvision's is `encoder="resnet50", output_stride=8, dropout=0.5, extra_conv=True`.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        output_stride: 8 or 16: the stride at which the encoder's features end, by dilation instead of striding.
        rates: Dilation rates of the pyramid; None for the paper's (6, 12, 18) at stride 16, doubled at stride 8.
        multi_grid: Factors on the dilation of the encoder's last spatial convolutions, which are one a block from
            ResNet-50 on: the paper's (1, 2, 4) gives its last blocks the rates 2, 4, 8 at stride 16. None leaves them
            alike, as torchvision does.
        filters: Channels of every branch.
        dropout: Dropped share of the pyramid's output.
        extra_conv: Whether a 3x3 convolution follows the pyramid, as in torchvision.
        auxiliary: Whether a light head on the last stage but one gives logits too, for a loss of weight 0.4 or so.
        align_corners: Whether the logits are enlarged as segmentation-models-pytorch does, for encoders that round
            sizes up (`floor_from` of `kseg.encoders.ENCODERS` tells which do not).
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        crf: Whether a `ConvCRF`, trained with the net, draws the scores to the edges of the image.
        weights: Trained weights: a file, its address, or the name of released weights or of their data set. Options
            left out are those that they were trained with.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Raises:
        ValueError: An unknown encoder, an output stride that it cannot give, or a `num_classes` that contradicts
            `weights`.

    Reference:
        Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017,
        https://arxiv.org/abs/1706.05587

    Example:
        >>> model = deeplabv3(3, encoder_weights=None, input_shape=(320, 321, 3))
        >>> model.output_shape
        (None, 320, 321, 3)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = _dilated(image, encoder, encoder_weights, output_stride, multi_grid, auxiliary)
    x = ASPP(filters, _rates(rates, output_stride), dropout=dropout, name="aspp")(features[output_stride])
    if extra_conv:
        x = ConvNormAct(filters, name="refine")(x)
    factor = output_stride if align_corners else None
    logits = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    outputs = logits
    if auxiliary:
        extra = auxiliary_head(features.penultimate, num_classes, activation, like=image)
        outputs = {"logits": logits, "auxiliary": extra}
    return pretrained.load(refined(keras.Model(image, outputs, name="deeplabv3"), crf), weights)


@pretrained.builder
def deeplabv3plus(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    multi_grid: Sequence[int] | None = None,
    filters: int = 256,
    low_level_filters: int = 48,
    decoder_convs: int = 2,
    separable: bool = False,
    extra_conv: bool = False,
    dropout: float = 0.1,
    align_corners: bool = False,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLabV3+: V3's pyramid, enlarged to stride 4 and refined with the encoder's features there.

    That of segmentation-models-pytorch is `separable=True, extra_conv=True, decoder_convs=1, dropout=0.5,
    rates=(12, 24, 36), align_corners=True`.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        output_stride: 8 or 16: the stride at which the encoder's features end, by dilation instead of striding.
        rates: Dilation rates of the pyramid; None for (6, 12, 18) at stride 16, doubled at stride 8.
        multi_grid: Factors on the dilation of the encoder's last spatial convolutions; see `deeplabv3`.
        filters: Channels of every branch and of the decoder.
        low_level_filters: Channels to which the features of stride 4 are reduced.
        decoder_convs: 3x3 convolutions after the concatenation.
        separable: Whether the 3x3 convolutions of pyramid and decoder are depthwise ones followed by 1x1.
        extra_conv: Whether a 3x3 convolution follows the pyramid.
        dropout: Dropped share of the pyramid's output.
        align_corners: Whether features and logits are enlarged as segmentation-models-pytorch does; see `deeplabv3`.
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        crf: Whether a `ConvCRF`, trained with the net, draws the scores to the edges of the image.
        weights: Trained weights: a file, its address, or the name of released weights or of their data set. Options
            left out are those that they were trained with.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`.

    Raises:
        ValueError: As `deeplabv3`.

    Reference:
        Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
        Segmentation, 2018, https://arxiv.org/abs/1802.02611

    Example:
        >>> model = deeplabv3plus(3, encoder_weights=None, input_shape=(320, 321, 3))
        >>> model.output_shape
        (None, 320, 321, 3)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = _dilated(image, encoder, encoder_weights, output_stride, multi_grid, False)
    aspp = ASPP(filters, _rates(rates, output_stride), separable=separable, dropout=dropout, name="aspp")
    x = aspp(features[output_stride])
    if extra_conv:
        x = ConvNormAct(filters, separable=separable, name="refine")(x)
    if align_corners:
        x = Resize(factor=output_stride // 4, align_corners=True, name="enlarge")(x)
        x = CropLike("corner", name="crop")(x, like=features[4])
    else:
        x = Resize(name="enlarge")(x, like=features[4])
    low_level = ConvNormAct(low_level_filters, 1, name="low_level")(features[4])
    x = keras.layers.Concatenate(name="concatenate")([x, low_level])
    for index in range(1, decoder_convs + 1):
        x = ConvNormAct(filters, separable=separable, name=f"decoder_{index}")(x)
    factor = 4 if align_corners else None
    logits = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    return pretrained.load(refined(keras.Model(image, logits, name="deeplabv3plus"), crf), weights)


def _rates(rates: Sequence[int] | None, output_stride: int) -> Sequence[int]:
    return rates or [rate * 16 // output_stride for rate in (6, 12, 18)]


def _dilated(image, encoder, encoder_weights, output_stride, multi_grid, penultimate) -> encoders.Features:
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16, got {output_stride}")
    features = encoders.extract(
        image,
        encoder,
        weights=encoder_weights,
        output_stride=output_stride,
        multi_grid=multi_grid,
        penultimate=penultimate,
    )
    return features
