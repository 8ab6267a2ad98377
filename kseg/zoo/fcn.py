"""FCN-32s, FCN-16s, FCN-8s: scores at stride 32, to which the scores of finer features are added."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import Conv2D, ConvNormAct, ScoreFusion, ScoreUpsampling, SegmentationHead
from kseg.zoo._builder import builder

AT_ONCE = {16: 0.01, 8: 0.0001}
"""Factors of the features at each stride if all skips are trained at once."""


@builder
def fcn32(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-32s: the scores at stride 32, upsampled in one step.

    For VGG, the fully connected layers fc6 and fc7 of the ImageNet classifier become convolutions, 7x7 and 1x1 with
    4096 filters, each followed by dropout; with ImageNet weights they start from the weights of the classifier. For any
    other encoder a 3x3 convolution, BatchNorm, ReLU and dropout take their place. On VGG all score layers start at
    zero, as in the paper; on other encoders those of the skips do.

    Reference:
        Shelhamer, Long, Darrell: Fully Convolutional Networks for Semantic Segmentation, 2016,
        https://arxiv.org/abs/1605.06211

    Example:
        >>> fcn32(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    return _fcn("fcn32", (), num_classes, encoder, encoder_weights, dropout, activation, input_shape)


@builder
def fcn16(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-16s: FCN-32s (see `fcn32`) with the scores at stride 16 added before the last upsampling.

    Example:
        >>> model = fcn16(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.get_layer("fuse_16").output.shape
        (None, 4, 5, 3)
    """
    return _fcn("fcn16", (16,), num_classes, encoder, encoder_weights, dropout, activation, input_shape)


@builder
def fcn8(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vgg16",
    encoder_weights: str | None = "imagenet",
    dropout: float = 0.5,
    at_once: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds FCN-8s: FCN-16s with the scores at stride 8 added as well; see `fcn32`.

    The paper trains in stages: FCN-8s starts from a trained FCN-16s, and FCN-16s from an FCN-32s.
    `kseg.pretrained.load(fcn16(...), "fcn32.safetensors", strict=False)` loads by name and lists the new layers.

    The authors' nets for Caffe pad the image by 100 pixels; here, every convolution pads. With the same weights, on
    VGG16, the logits are theirs away from the border if the image gets a margin of 99 pixels of the mean color, so that
    the cells of the features begin at the same pixels; see docs/measurements.md. As in the paper, the upsampling
    between the scores is learned, which the authors' nets keep fixed.

    Args:
        at_once: Whether to train all skips at once: multiplies the features at stride 16 by 0.01 and at stride 8 by
            0.0001 before they are scored.

    Example:
        >>> model = fcn8(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.get_layer("fuse_8").output.shape
        (None, 8, 9, 3)
    """
    scales = AT_ONCE if at_once else {}
    return _fcn("fcn8", (16, 8), num_classes, encoder, encoder_weights, dropout, activation, input_shape, scales)


@builder
def fcn_dilated(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "resnet50",
    encoder_weights: str | None = "imagenet",
    output_stride: int = 8,
    dropout: float = 0.1,
    auxiliary: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds the FCN of torchvision: a 3x3 convolution on a dilated encoder, whose scores are upsampled in one step.

    Args:
        output_stride: 8, 16 or 32: the stride of the encoder's last features; later strides become dilation.
        auxiliary: Whether to add a second head on the last stage but one, for a loss with a weight of about 0.4.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Reference:
        torchvision.models.segmentation.fcn_resnet50

    Example:
        >>> fcn_dilated(3, encoder="resnet18", encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image, encoder, weights=encoder_weights, output_stride=output_stride, penultimate=auxiliary
    )
    x = _light_classifier(features[output_stride], dropout)
    outputs = SegmentationHead(num_classes, activation=activation, name="head")(x, like=image)
    if auxiliary:
        extra = auxiliary_head(features.penultimate, num_classes, activation, like=image)
        outputs = {"logits": outputs, "auxiliary": extra}
    return keras.Model(image, outputs, name="fcn_dilated")


def auxiliary_head(
    feature: keras.KerasTensor, num_classes: int, activation: str | None, like: keras.KerasTensor
) -> keras.KerasTensor:
    """Appends a second FCN head to an intermediate feature, for an auxiliary loss."""
    x = _light_classifier(feature, 0.1, "auxiliary_classifier")
    return SegmentationHead(num_classes, activation=activation, name="auxiliary")(x, like=like)


def _fcn(
    name: str,
    skips: Sequence[int],
    num_classes: int,
    encoder: encoders.EncoderLike,
    encoder_weights: str | None,
    dropout: float,
    activation: str | None,
    input_shape: Sequence[int | None],
    scales: dict[int, float] | None = None,
) -> keras.Model:
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights)
    if classifier := encoders.classifier_of(encoder):
        x = _full_classifier(features[32], classifier, dropout, pretrained=encoder_weights == "imagenet")
        start = "zeros"
    else:  # a classifier that starts at random learns slowly behind scores of zero
        x, start = _light_classifier(features[32], dropout), "glorot_uniform"
    scores = SegmentationHead(num_classes, kernel_initializer=start, name="score_32")(x)
    for stride in skips:
        fuse = ScoreFusion(num_classes, scale=(scales or {}).get(stride, 1.0), name=f"fuse_{stride}")
        scores = fuse(scores, features[stride])
    logits = ScoreUpsampling([32, *skips][-1], activation=activation, name="upsample")(scores, like=image)
    return keras.Model(image, logits, name=name)


def _full_classifier(
    x: keras.KerasTensor, classifier: encoders.Classifier, dropout: float, *, pretrained: bool
) -> keras.KerasTensor:
    weights = classifier.weights() if pretrained else (None, None)
    sizes = (classifier.kernel_size, 1)
    for name, kernel_size, values in zip(("fc6", "fc7"), sizes, weights, strict=True):
        convolution = Conv2D(classifier.width, kernel_size, padding="same", activation="relu", name=name)
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(convolution(x))
        if values is not None:
            convolution.set_weights(values)
    return x


def _light_classifier(x: keras.KerasTensor, dropout: float, name: str = "classifier") -> keras.KerasTensor:
    x = ConvNormAct(x.shape[-1] // 4, name=name)(x)  # a quarter of the channels, as in torchvision
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)


AUXILIARY_RULES: Rules = (
    (r"aux_classifier\.0", "auxiliary_classifier/conv"),
    (r"aux_classifier\.1", "auxiliary_classifier/norm"),
    (r"aux_classifier\.4", "auxiliary/conv"),
)
"""From torchvision's auxiliary head to the layers of `auxiliary_head`."""

TORCHVISION: Rules = (
    (r"classifier\.0", "classifier/conv"),
    (r"classifier\.1", "classifier/norm"),
    (r"classifier\.4", "head/conv"),
    *AUXILIARY_RULES,
)
"""From the modules of torchvision's FCN, without its encoder, to the layers of `fcn_dilated`."""
