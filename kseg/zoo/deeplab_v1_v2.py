"""DeepLab V1 and V2: output stride 8 by dilation, and branches at several rates whose scores are summed."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import AtrousScoreSum, Resize, ScoreUpsampling
from kseg.zoo.refinement import refined

LARGE = (6, 12, 18, 24)
SMALL = (2, 4, 8, 12)


@pretrained.builder
def deeplabv1(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    rate: int = 12,
    dropout: float = 0.5,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLab V1's LargeFOV: VGG16 at output stride 8, then fc6 as a 3x3 convolution of a large rate.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        rate: Dilation of fc6.
        dropout: Dropped share after fc6 and fc7.
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        crf: Whether a `ConvCRF`, trained with the net, draws the scores to the edges of the image.
        weights: Trained weights: a file, its address, or the name of released weights or of their data set. Options
            left out are those that they were trained with.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`.

    Raises:
        ValueError: An unknown encoder, or a `num_classes` that contradicts `weights`.

    Reference:
        Chen, Papandreou, Kokkinos, Murphy, Yuille: Semantic Image Segmentation with Deep Convolutional Nets and Fully
        Connected CRFs, 2014, https://arxiv.org/abs/1412.7062

    Example:
        >>> deeplabv1(3, encoder="efficientnet_lite0", encoder_weights=None).output_shape
        (None, None, None, 3)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    feature = _feature(image, encoder, encoder_weights)
    scores = AtrousScoreSum(num_classes, [rate], hidden=(1024, 1024), dropout=dropout, name="scores")(feature)
    logits = ScoreUpsampling(8, activation=activation, name="upsample")(scores, like=image)
    return pretrained.load(refined(keras.Model(image, logits, name="deeplabv1"), crf), weights)


@pretrained.builder
def deeplabv2(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    rates: Sequence[int] = LARGE,
    scales: Sequence[float] = (1.0,),
    outputs_per_scale: bool = False,
    dropout: float = 0.5,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLab V2: four branches at four rates, whose scores are summed (V3 concatenates features).

    On VGG a branch is fc6, fc7 and fc8; on any other encoder, as on the paper's ResNet, one 3x3 convolution straight to
    the classes.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        rates: Dilation rates of the branches: `LARGE`, (6, 12, 18, 24), is the paper's ASPP-L, `SMALL`, (2, 4, 8, 12),
            its ASPP-S.
        scales: Sizes at which the image is shown, the largest one 1, e.g. the paper's (0.5, 0.75, 1.0); the same
            weights score each, and the greatest score of every class and pixel stays.
        outputs_per_scale: Whether the logits of every scale are given too, for a loss on each.
        dropout: Dropped share after fc6 and fc7.
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        crf: Whether a `ConvCRF`, trained with the net, draws the scores to the edges of the image.
        weights: Trained weights: a file, its address, or the name of released weights or of their data set. Options
            left out are those that they were trained with.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with
        `outputs_per_scale` to `{"logits": ..., "scale_0.5": ..., ...}`.

    Raises:
        ValueError: An unknown encoder, scales that do not end at 1, or a `num_classes` that contradicts `weights`.

    Reference:
        Chen, Papandreou, Kokkinos, Murphy, Yuille: DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
        Atrous Convolution, and Fully Connected CRFs, 2016, https://arxiv.org/abs/1606.00915

    Example:
        >>> deeplabv2(3, encoder="efficientnet_lite0", encoder_weights=None).output_shape
        (None, None, None, 3)
    """
    if not scales or min(scales) <= 0 or max(scales) != 1:
        raise ValueError(f"scales must be positive and the largest one 1, got {tuple(scales)}")
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    hidden = (1024, 1024) if encoder in ("vgg16", "vgg19") else ()
    pixels = keras.Input((None, None, input_shape[-1]), name="pixels")
    trunk = keras.Model(pixels, _feature(pixels, encoder, encoder_weights)).get_layer("encoder")
    pyramid = AtrousScoreSum(num_classes, rates, hidden=hidden, dropout=dropout, name="scores")

    scores = []
    for scale in scales:  # one encoder, one pyramid: called once a scale
        scaled = image if scale == 1 else Resize(factor=scale, dtype="float32", name=_named("shrink", scale))(image)
        scores.append(pyramid(trunk(scaled)[-1]))
    finest = scores[list(scales).index(1)]
    scores = [
        x if scale == 1 else Resize(dtype="float32", name=_named("match", scale))(x, like=finest)
        for scale, x in zip(scales, scores, strict=True)
    ]
    fused = keras.layers.Maximum(dtype="float32", name="maximum")(scores) if len(scores) > 1 else scores[0]
    logits = ScoreUpsampling(8, activation=activation, name="upsample")(fused, like=image)
    outputs = logits
    if outputs_per_scale:
        outputs = {"logits": logits}
        for scale, x in zip(scales, scores, strict=True):
            upsample = ScoreUpsampling(8, activation=activation, name=_named("upsample", scale))
            outputs[f"scale_{scale:g}"] = upsample(x, like=image)
    return pretrained.load(refined(keras.Model(image, outputs, name="deeplabv2"), crf), weights)


def _named(word: str, scale: float) -> str:
    return f"{word}_{round(100 * scale)}_percent"


def _feature(image, encoder, encoder_weights) -> keras.KerasTensor:
    features = encoders.extract(image, encoder, weights=encoder_weights, output_stride=8)
    return features[8]
