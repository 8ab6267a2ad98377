"""SegNet: the decoder puts values back where the encoder's poolings found its maxima, and learns no upsampling."""

import os
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kseg import pretrained
from kseg.encoders import bsds500
from kseg.encoders.channels import IMAGENET, adapt_kernel
from kseg.layers import (
    ConvNormAct,
    CropLike,
    MaxPoolingWithArgmax2D,
    MaxUnpooling2D,
    Resize,
    SegmentationHead,
    TransposeUpsampling2D,
)
from kseg.zoo.refinement import refined

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@pretrained.builder
def segnet(
    num_classes: int | None = None,
    *,
    encoder_weights: str | None = "imagenet",
    unpooling: str = "max",
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds SegNet: VGG16's thirteen convolutions, each with BatchNorm, and their mirror image.

    Poolings round up, as in Caffe (360: 180, 90, 45, 23, 12), and unpooling returns to the very size that was pooled.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder_weights: `"imagenet"` or `"imagenet+bsds500"` for VGG16's kernels, a file, or None. Not read when
            `weights` is given.
        unpooling: What enlarges in the decoder, all else being equal: `"max"` (the paper's), `"nearest"`,
            `"bed_of_nails"`, `"bilinear"`, or `"transpose"` (starts bilinear; learnable, so it adds a kernel a level).
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        crf: Whether a `ConvCRF`, trained with the net, draws the scores to the edges of the image.
        weights: Trained weights: a file, its address, or the name of released weights or of their data set. Options
            left out are those that they were trained with.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`.

    Raises:
        ValueError: An unknown unpooling, or a `num_classes` that contradicts `weights`.

    Reference:
        Badrinarayanan, Kendall, Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation, 2015, https://arxiv.org/abs/1511.00561

    Example:
        >>> model = segnet(11, encoder_weights=None, input_shape=(36, 48, 3))
        >>> model.output_shape
        (None, 36, 48, 11)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
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
    return pretrained.load(refined(keras.Model(image, logits, name="segnet"), crf), weights)


@pretrained.builder
def segnet_basic(
    num_classes: int | None = None,
    *,
    unpooling: str = "max",
    filters: int = 64,
    activation: str | None = None,
    crf: bool = False,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds SegNet-Basic: four 7x7 convolutions down, four up, for comparing decoders.

    The decoder's convolutions have BatchNorm and no ReLU. Arguments, result, errors and reference are those of
    `segnet`; `filters` is the width of every convolution.

    Example:
        >>> segnet_basic(11, input_shape=(36, 48, 3)).output_shape
        (None, 36, 48, 11)
    """
    num_classes, _ = pretrained.resolve(weights, num_classes, None)
    image = keras.Input(input_shape, name="image")
    x, *memories = _encoder(((filters,),) * 4, 7, input_shape)(image)
    for level in (4, 3, 2, 1):
        x = _unpool(x, memories[2 * level - 2 : 2 * level], unpooling, level)
        x = ConvNormAct(filters, 7, activation=None, use_bias=True, name=f"decoder_{level}")(x)
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x)
    return pretrained.load(refined(keras.Model(image, logits, name="segnet_basic"), crf), weights)


def _encoder(levels: Sequence[Sequence[int]], kernel_size: int, input_shape: Sequence[int | None]) -> keras.Model:
    """Gives the deepest feature and, of each level, what was pooled and where its maxima were."""
    image = keras.Input(input_shape, name="image")
    # VGG's kernels expect pixels less their mean; BatchNorm after the first convolution makes their scale immaterial.
    x = IMAGENET.layer(image.shape[-1])(image)
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
        # A nail in the corner of its window is a maximum that was found there.
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


def _load_vgg16(encoder: keras.Model, encoder_weights: str) -> None:
    if encoder_weights not in ("imagenet", bsds500.NAME):
        pretrained.load(encoder, encoder_weights)
        return
    found = bsds500.kernels() if encoder_weights == bsds500.NAME else _imagenet()
    for level, widths in enumerate(VGG16, start=1):
        for index in range(1, len(widths) + 1):
            kernel, bias = found[f"block{level}_conv{index}"]
            convolution = encoder.get_layer(f"conv{level}_{index}").conv
            if (level, index) == (1, 1):
                kernel = adapt_kernel(kernel, convolution.kernel.shape[2])
            convolution.set_weights([kernel, bias])


def _imagenet() -> dict[str, list[np.ndarray]]:
    source = keras.applications.VGG16(weights="imagenet", include_top=False)
    found = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    kernel, bias = found["block1_conv1"]
    return found | {"block1_conv1": [kernel[:, :, ::-1], bias]}  # trained on blue, green, red
