"""U-Net: an encoder, and a decoder that climbs back through its skips."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders, pretrained
from kseg.layers import SegmentationHead, UNetBlock


def unet(
    num_classes: int | None = None,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    filters: Sequence[int] = (256, 128, 64, 32, 16),
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds a U-Net on any encoder, the form that PyTorch libraries made the convention.

    Each block doubles the size, concatenates the encoder's features of that size and convolves twice; the last block,
    at the size of the image, has no skip. On an encoder that begins at stride 4 (ConvNeXt) the blocks end at stride 2,
    the last width is left out, and the logits are enlarged.

    Args:
        num_classes: Classes; 1 is binary (one logit). May be left out only with `weights`.
        encoder: A name in `kseg.encoders.ENCODERS`, a `keras.Model`, or a function `image -> {stride: feature}`.
        encoder_weights: `"imagenet"`, a file, or None for random ones. Not read when `weights` is given.
        filters: Channels of the blocks, coarsest first.
        activation: None for logits, `"softmax"` or `"sigmoid"` for probabilities.
        weights: A file of trained weights.
        input_shape: Height, width and channels of the image; None where it varies.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`.

    Raises:
        ValueError: An unknown encoder, or a `num_classes` that contradicts `weights`.

    Reference:
        Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015,
        https://arxiv.org/abs/1505.04597

    Example:
        >>> model = unet(3, encoder_weights=None, input_shape=(64, 65, 3))
        >>> model.output_shape
        (None, 64, 65, 3)
    """
    num_classes, encoder_weights = pretrained.resolve(weights, num_classes, encoder_weights)
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights)  # {2: ..., 4: ..., 8: ..., 16: ..., 32: ...}
    if len(filters) < len(features):
        raise ValueError(f"filters has {len(filters)} widths for the {len(features)} features of the encoder: add some")
    *skips, x = features.values()
    for level, (width, skip) in enumerate(zip(filters, [*reversed(skips), None], strict=False), start=1):
        x = UNetBlock(width, name=f"decoder_{level}")(x, skip)  # the last block has no skip
    logits = SegmentationHead(num_classes, kernel_size=3, activation=activation, name="head")(x, like=image)
    return pretrained.load(keras.Model(image, logits, name="unet"), weights)
