"""SegNet: the decoder puts values back at the positions where the encoder's poolings found the maxima."""

import os
from collections.abc import Callable, Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import (
    ConvNormAct,
    CropLike,
    MaxPoolingWithArgmax2D,
    MaxUnpooling2D,
    Resize,
    SegmentationHead,
    TransposeUpsampling2D,
)
from kseg.zoo._builder import builder

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@builder
def segnet(
    num_classes: int,
    *,
    encoder_weights: str | None = "imagenet",
    unpooling: str = "max",
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds SegNet: the thirteen convolutions of VGG16, each with BatchNorm, and a decoder that mirrors them.

    Poolings round up, as in Caffe (360: 180, 90, 45, 23, 12), and unpooling restores the size before the pooling.

    Args:
        encoder_weights: `"imagenet"` or `"imagenet+bsds500"` for the kernels of VGG16, a file, or None for random
            initialization. Not used if `weights` is given.
        unpooling: How the decoder upsamples: `"max"` (as in the paper), `"nearest"`, `"bed_of_nails"`, `"bilinear"`, or
            `"transpose"`, a transposed convolution per level that starts bilinear.

    Reference:
        Badrinarayanan, Kendall, Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation, 2015, https://arxiv.org/abs/1511.00561

    Example:
        >>> segnet(11, encoder_weights=None, input_shape=(36, 48, 3)).output_shape
        (None, 36, 48, 11)
    """
    image = keras.Input(input_shape, name="image")
    encoder = _encoder(VGG16, 3, input_shape)
    x, *memories = encoder(image)
    for level in (5, 4, 3, 2, 1):
        x = _unpool(x, memories[2 * level - 2 : 2 * level], unpooling, level)
        widths = list(VGG16[level - 1])
        widths[-1] = VGG16[level - 2][-1] if level > 1 else widths[-1]
        for index, width in reversed(list(enumerate(reversed(widths), start=1))):
            if (level, index) != (1, 1):  # the last convolution is the head
                x = ConvNormAct(width, use_bias=True, name=f"decoder_{level}_{index}")(x)
    logits = SegmentationHead(num_classes, kernel_size=3, activation=activation, name="head")(x)
    if encoder_weights is not None:
        _load_vgg16(encoder, encoder_weights)
    return keras.Model(image, logits, name="segnet")


@builder
def segnet_basic(
    num_classes: int,
    *,
    unpooling: str = "max",
    filters: int = 64,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds SegNet-Basic, for comparing decoders: four 7x7 convolutions in the encoder, four in the decoder.

    The convolutions of the decoder have BatchNorm and no ReLU.

    Args:
        unpooling: How the decoder upsamples; see `segnet`.
        filters: Number of channels of every convolution.

    Example:
        >>> segnet_basic(11, input_shape=(36, 48, 3)).output_shape
        (None, 36, 48, 11)
    """
    image = keras.Input(input_shape, name="image")
    x, *memories = _encoder(((filters,),) * 4, 7, input_shape)(image)
    for level in (4, 3, 2, 1):
        x = _unpool(x, memories[2 * level - 2 : 2 * level], unpooling, level)
        x = ConvNormAct(filters, 7, activation=None, use_bias=True, name=f"decoder_{level}")(x)
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x)
    return keras.Model(image, logits, name="segnet_basic")


def _encoder(levels: Sequence[Sequence[int]], kernel_size: int, input_shape: Sequence[int | None]) -> keras.Model:
    """Returns the coarsest feature and, for each level, the feature before pooling and the positions of its maxima."""
    image = keras.Input(input_shape, name="image")
    # The kernels of VGG expect pixels minus their mean; BatchNorm after the first convolution cancels the scale.
    x = encoders.channels.IMAGENET.layer(image.shape[-1])(image)
    memories = []
    for level, widths in enumerate(levels, start=1):
        for index, width in enumerate(widths, start=1):
            x = ConvNormAct(width, kernel_size, use_bias=True, name=f"conv{level}_{index}")(x)
        pooled, argmax = MaxPoolingWithArgmax2D(padding="ceil", name=f"pool{level}")(x)
        memories += [x, argmax]
        x = pooled
    return keras.Model(image, [x, *memories], name="encoder")


def _unpool(x: keras.KerasTensor, memory: Sequence[keras.KerasTensor], unpooling: str, level: int) -> keras.KerasTensor:
    pooled, argmax = memory
    name = f"unpool_{level}"
    kinds: dict[str, Callable[[], keras.KerasTensor]] = {
        "max": lambda: MaxUnpooling2D(name=name)(x, argmax, like=pooled),
        # Bed of nails is max unpooling with every maximum at the corner of its window.
        "bed_of_nails": lambda: MaxUnpooling2D(name=name)(x, keras.ops.zeros_like(argmax), like=pooled),
        "nearest": lambda: Resize(interpolation="nearest", name=name)(x, like=pooled),
        "bilinear": lambda: Resize(name=name)(x, like=pooled),
        "transpose": lambda: CropLike("corner", name=f"crop_{level}")(
            TransposeUpsampling2D(x.shape[-1], name=name)(x), like=pooled
        ),
    }
    if unpooling not in kinds:
        raise ValueError(f"unpooling must be one of {', '.join(kinds)}, got {unpooling!r}")
    return kinds[unpooling]()


def _load_vgg16(encoder: keras.Model, weights: str) -> None:
    if weights not in ("imagenet", *encoders.ENCODERS["vgg16"].weights):
        pretrained.load(encoder, weights)
        return
    vgg16 = encoders.build("vgg16", weights=weights, input_shape=(None, None, encoder.input_shape[-1]))
    for level, widths in enumerate(VGG16, start=1):
        for index in range(1, len(widths) + 1):
            values = vgg16.get_layer(f"block{level}_conv{index}").get_weights()
            encoder.get_layer(f"conv{level}_{index}").conv.set_weights(values)
