"""DeepLab V1 and V2: output stride 8 by dilation, and branches at several rates whose scores are summed."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.layers import AtrousScoreSum, Resize, ScoreUpsampling
from kseg.zoo._builder import builder


@builder
def deeplabv1(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    rate: int = 12,
    dropout: float = 0.5,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLab V1, LargeFOV: VGG16 at output stride 8, then fc6 as a 3x3 convolution with a large rate.

    With ImageNet weights, fc6 and fc7 on VGG start from the decimated classifier, see `kseg.encoders.Classifier`.

    Args:
        rate: Dilation rate of fc6.
        dropout: Fraction of features to drop after fc6 and fc7.

    Reference:
        Chen, Papandreou, Kokkinos, Murphy, Yuille: Semantic Image Segmentation with Deep Convolutional Nets and Fully
        Connected CRFs, 2014, https://arxiv.org/abs/1412.7062

    Example:
        >>> deeplabv1(3, encoder="efficientnet_lite0", encoder_weights=None).output_shape
        (None, None, None, 3)
    """
    image = keras.Input(input_shape, name="image")
    feature = encoders.extract(image, encoder, weights=encoder_weights, output_stride=8)[8]
    hidden = _fully_connected(encoder) or (1024, 1024)
    pyramid = AtrousScoreSum(num_classes, [rate], hidden=hidden, dropout=dropout, name="scores")
    logits = ScoreUpsampling(8, activation=activation, name="upsample")(pyramid(feature), like=image)
    _start_from_classifier(pyramid, encoder, encoder_weights)
    return keras.Model(image, logits, name="deeplabv1")


@builder
def deeplabv2(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    rates: Sequence[int] = (6, 12, 18, 24),
    scales: Sequence[float] = (1.0,),
    outputs_per_scale: bool = False,
    dropout: float = 0.5,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLab V2: branches at several rates whose scores are summed (V3 concatenates features).

    On VGG a branch consists of fc6, fc7 and fc8, of which fc6 and fc7 start from the decimated ImageNet classifier, see
    `kseg.encoders.Classifier`. On any other encoder, as on the ResNet of the paper, it is one 3x3 convolution.

    Args:
        rates: Dilation rates of the branches: (6, 12, 18, 24) is ASPP-L of the paper, (2, 4, 8, 12) ASPP-S.
        scales: Factors by which the image is resized, the largest one 1, e.g. (0.5, 0.75, 1.0) as in the paper. The
            same weights score each size, and the maximum of the scores is the result.
        outputs_per_scale: Whether to return the logits of each scale as well, for a loss on each.
        dropout: Fraction of features to drop after fc6 and fc7.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with
        `outputs_per_scale` to `{"logits": ..., "scale_0.5": ..., ...}`.

    Reference:
        Chen, Papandreou, Kokkinos, Murphy, Yuille: DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
        Atrous Convolution, and Fully Connected CRFs, 2016, https://arxiv.org/abs/1606.00915

    Example:
        >>> deeplabv2(3, encoder="efficientnet_lite0", encoder_weights=None).output_shape
        (None, None, None, 3)
    """
    if not scales or min(scales) <= 0 or max(scales) != 1:
        raise ValueError(f"scales must be positive and the largest one 1, got {tuple(scales)}")
    image = keras.Input(input_shape, name="image")
    pixels = keras.Input((None, None, input_shape[-1]), name="pixels")
    feature = encoders.extract(pixels, encoder, weights=encoder_weights, output_stride=8)[8]
    trunk = keras.Model(pixels, feature).get_layer("encoder")
    hidden = _fully_connected(encoder)
    pyramid = AtrousScoreSum(num_classes, rates, hidden=hidden, dropout=dropout, name="scores")

    scores = []
    for scale in scales:  # one encoder and one pyramid, called once per scale
        scaled = image if scale == 1 else Resize(factor=scale, dtype="float32", name=_named("shrink", scale))(image)
        scores.append(pyramid(trunk(scaled)[-1]))
    _start_from_classifier(pyramid, encoder, encoder_weights)
    finest = scores[list(scales).index(1)]
    scores = [
        x if scale == 1 else Resize(dtype="float32", name=_named("match", scale))(x, like=finest)
        for scale, x in zip(scales, scores, strict=True)
    ]
    fused = keras.layers.Maximum(dtype="float32", name="maximum")(scores) if len(scores) > 1 else scores[0]
    outputs = ScoreUpsampling(8, activation=activation, name="upsample")(fused, like=image)
    if outputs_per_scale:
        outputs = {"logits": outputs}
        for scale, x in zip(scales, scores, strict=True):
            upsample = ScoreUpsampling(8, activation=activation, name=_named("upsample", scale))
            outputs[f"scale_{scale:g}"] = upsample(x, like=image)
    return keras.Model(image, outputs, name="deeplabv2")


def _named(word: str, scale: float) -> str:
    return f"{word}_{round(100 * scale)}_percent"


def _fully_connected(encoder: encoders.EncoderLike) -> tuple[int, ...]:
    """Widths of fc6 and fc7: every fourth filter of the classifier, as in the paper."""
    classifier = encoders.classifier_of(encoder)
    return (classifier.width // 4,) * 2 if classifier else ()


def _start_from_classifier(pyramid: AtrousScoreSum, encoder: encoders.EncoderLike, encoder_weights: str | None) -> None:
    """Gives fc6 and fc7 of every branch the weights of the decimated ImageNet classifier."""
    classifier = encoders.classifier_of(encoder)
    if classifier is None or encoder_weights != "imagenet":
        return
    weights = classifier.weights(kernel_size=3, width=classifier.width // 4)
    for fc6, _, fc7, *_ in pyramid.branches:  # the others are dropout and fc8
        for layer, values in zip((fc6, fc7), weights, strict=True):
            layer.conv.set_weights(values)
