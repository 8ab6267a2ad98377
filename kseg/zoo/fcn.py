"""FCN-32s, 16s and 8s: scores at stride 32, refined by the scores of finer features, by sum."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import ConvNormAct, ScoreFusion, ScoreUpsampling, SegmentationHead
from kseg.zoo.refinement import refined

AT_ONCE = {16: 0.01, 8: 0.0001}
"""By what the features of each stride are multiplied where all skips are trained at once."""


@pretrained.builder
def fcn32(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-32s: the scores of stride 32, upsampled at once.

    On VGG the classifier's fc6 and fc7 become convolutions, 7x7 and 1x1, 4096 wide, each with dropout; with ImageNet
    weights they start from the classifier's. Any other encoder gets a lighter one: 3x3, BatchNorm, ReLU, dropout.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        dropout: Dropped share of the classifier's features.
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
        Shelhamer, Long, Darrell: Fully Convolutional Networks for Semantic Segmentation, 2016,
        https://arxiv.org/abs/1605.06211

    Example:
        >>> model = fcn32(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.output_shape
        (None, 64, 65, 3)
    """
    return _fcn("fcn32", (), num_classes, encoder, encoder_weights, dropout, activation, crf, weights, input_shape)


@pretrained.builder
def fcn16(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-16s: FCN-32s with the scores of stride 16 added before the last upsampling.

    Arguments, result, errors and reference are those of `fcn32`.

    Example:
        >>> model = fcn16(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.get_layer("fuse_16").output.shape
        (None, 4, 5, 3)
    """
    return _fcn("fcn16", (16,), num_classes, encoder, encoder_weights, dropout, activation, crf, weights, input_shape)


@pretrained.builder
def fcn8(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    at_once: bool = False,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-8s: FCN-16s with the scores of stride 8 added as well.

    In stages, FCN-8s starts from a trained FCN-16s, and that from an FCN-32s:
    `kseg.pretrained.load(fcn16(...), "fcn32.safetensors", strict=False)` loads by name and reports what is new.

    Arguments, result, errors and reference are those of `fcn32`; `at_once` scales the finer features by 0.01 (stride
    16) and 0.0001 (stride 8) before they are scored, so that all skips can be trained in one go.

    Example:
        >>> model = fcn8(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.get_layer("fuse_8").output.shape
        (None, 8, 9, 3)
    """
    return _fcn(
        "fcn8", (16, 8), num_classes, encoder, encoder_weights, dropout, activation, crf, weights, input_shape, at_once
    )


@pretrained.builder
def fcn_dilated(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "resnet50",
    encoder_weights: str | None = "imagenet",
    output_stride: int = 8,
    dropout: float = 0.1,
    auxiliary: bool = False,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds the FCN of torchvision: a light classifier on a dilated encoder, whose scores are enlarged at once.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        output_stride: 8, 16 or 32: the stride at which the encoder's features end, by dilation instead of striding.
        dropout: Dropped share of the classifier's features.
        auxiliary: Whether a light head on the last stage but one gives logits too, for a loss of weight 0.4 or so.
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
        torchvision.models.segmentation.fcn_resnet50

    Example:
        >>> model = fcn_dilated(3, encoder="resnet18", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.output_shape
        (None, 64, 65, 3)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image, encoder, weights=encoder_weights, output_stride=output_stride, penultimate=auxiliary
    )
    x = _light_classifier(features[output_stride], dropout)
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x, like=image)
    outputs = logits
    if auxiliary:
        extra = auxiliary_head(features.penultimate, num_classes, activation, like=image)
        outputs = {"logits": logits, "auxiliary": extra}
    return pretrained.load(refined(keras.Model(image, outputs, name="fcn_dilated"), crf), weights)


def auxiliary_head(
    feature: keras.KerasTensor, num_classes: int, activation: str | None, like: keras.KerasTensor
) -> keras.KerasTensor:
    """Scores a stage on the way with a light FCN head, for a second loss that reaches the encoder sooner.

    Args:
        feature: `(N, H, W, C)`.
        num_classes: Classes.
        activation: As in the builders.
        like: The image.

    Returns:
        float32 logits of the image's size.
    """
    x = _light_classifier(feature, 0.1, "auxiliary_classifier")
    return SegmentationHead(num_classes, activation=activation, name="auxiliary")(x, like=like)


def _fcn(
    name, skips, num_classes, encoder, encoder_weights, dropout, activation, crf, weights, input_shape, at_once=False
):
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights)
    convolutionalised = encoder in ("vgg16", "vgg19")
    classify = _vgg_classifier if convolutionalised else _light_classifier
    scores = SegmentationHead(num_classes, name="score_32")(classify(features[32], dropout))
    for stride in skips:
        fuse = ScoreFusion(num_classes, scale=AT_ONCE[stride] if at_once else 1.0, name=f"fuse_{stride}")
        scores = fuse(scores, features[stride])
    logits = ScoreUpsampling([32, *skips][-1], activation=activation, name="upsample")(scores, like=image)
    model = refined(keras.Model(image, logits, name=name), crf)
    if convolutionalised and encoder_weights == "imagenet":
        _load_vgg_classifier(model, encoder)
    return pretrained.load(model, weights)


def _vgg_classifier(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    for name, kernel_size in (("fc6", 7), ("fc7", 1)):
        x = keras.layers.Conv2D(4096, kernel_size, padding="same", activation="relu", name=name)(x)
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return x


def _light_classifier(x: keras.KerasTensor, dropout: float, name: str = "classifier") -> keras.KerasTensor:
    x = ConvNormAct(x.shape[-1] // 4, name=name)(x)  # a quarter of the channels, as in torchvision
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)


def _load_vgg_classifier(model: keras.Model, encoder: str) -> None:
    """Turns the ImageNet classifier's dense fc1 and fc2 into the kernels of fc6 and fc7."""
    families = {"vgg16": keras.applications.VGG16, "vgg19": keras.applications.VGG19}
    classifier = families[encoder](weights="imagenet", include_top=True)
    for dense, convolution in (("fc1", "fc6"), ("fc2", "fc7")):
        kernel, bias = classifier.get_layer(dense).get_weights()
        convolution = model.get_layer(convolution)
        convolution.set_weights([kernel.reshape(convolution.kernel.shape), bias])
