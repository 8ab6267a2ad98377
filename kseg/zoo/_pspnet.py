"""PSPNet: a dilated encoder, and means of its features over grids of four sizes."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.layers import ConvNormAct, PyramidPooling, SegmentationHead
from kseg.zoo import _smp_table
from kseg.zoo._builder import builder
from kseg.zoo.fcn import auxiliary_head


@builder
def pspnet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    output_stride: int = 8,
    bins: Sequence[int] = (1, 2, 3, 6),
    filters: int = 512,
    kernel_sizes: Sequence[int] = (3, 1),
    batch_norm: bool = True,
    dropout: float = 0.1,
    auxiliary: bool = False,
    align_corners: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds PSPNet: pyramid pooling on a dilated encoder.

    The features are averaged over grids of 1, 2, 3 and 6 cells along each side. The means are convolved, upsampled and
    concatenated with the features. The model of segmentation-models-pytorch, whose encoder ends at stride 8, is
    `encoder_depth=3, kernel_sizes=(1, 3), dropout=0.2, align_corners=True`.

    Args:
        output_stride: 8, 16 or 32: the stride of the encoder's last features; later strides become dilation.
        bins: Number of cells of the grids along each side. Each has the encoder's channels divided by their number.
        filters: Number of channels after the pyramid.
        kernel_sizes: Kernel sizes of the convolution after the pyramid and of the scores.
        batch_norm: Whether batch normalization follows the convolutions.
        auxiliary: Whether to add a second head on the last stage but one, for a loss with a weight of about 0.4.
        align_corners: Whether to upsample with aligned corners, as the paper's code and segmentation-models-pytorch do.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Reference:
        Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network, 2017, https://arxiv.org/abs/1612.01105

    Example:
        >>> pspnet(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image,
        encoder,
        weights=encoder_weights,
        depth=encoder_depth,
        output_stride=output_stride,
        penultimate=auxiliary,
    )
    stride = min(output_stride, 2**encoder_depth)
    x = features[stride]
    pyramid = PyramidPooling(
        x.shape[-1] // len(bins), bins, normalization=batch_norm, align_corners=align_corners, name="pyramid"
    )
    x = keras.layers.Concatenate(name="concatenate")([pyramid(x), x])
    x = ConvNormAct(filters, kernel_sizes[0], normalization=batch_norm, name="project")(x)
    x = keras.layers.SpatialDropout2D(dropout, name="dropout")(x)
    head = SegmentationHead(
        num_classes,
        kernel_size=kernel_sizes[1],
        activation=activation,
        aligned_factor=stride if align_corners else None,
        name="head",
    )
    outputs = head(x, like=image)
    if auxiliary:
        extra = auxiliary_head(features.penultimate, num_classes, activation, like=image)
        outputs = {"logits": outputs, "auxiliary": extra}
    return keras.Model(image, outputs, name="pspnet")


_smp_table.register(
    "PSPNet",
    "pspnet",
    {
        "encoder_depth": _smp_table.Option("encoder_depth", 3, {3: 3, 4: 4, 5: 5}),
        "psp_out_channels": _smp_table.Option("filters", 512),
        "decoder_use_norm": _smp_table.NORM,
        "psp_dropout": _smp_table.Option("dropout", 0.2),
        "upsampling": _smp_table.Option(None, 8),
    },
    arguments=lambda options: {
        "output_stride": 2 ** options["encoder_depth"],
        "kernel_sizes": [1, 3],
        "align_corners": True,
    },
    upsampling=lambda options: 2 ** options["encoder_depth"],
    rules=lambda options: [
        *_smp_table.conv_norm("decoder.conv", "project"),
        *_smp_table.conv_norm("decoder.psp.blocks.0.pool.1", "pyramid/branch_1"),
        *_smp_table.conv_norm("decoder.psp.blocks.1.pool.1", "pyramid/branch_2"),
        *_smp_table.conv_norm("decoder.psp.blocks.2.pool.1", "pyramid/branch_3"),
        *_smp_table.conv_norm("decoder.psp.blocks.3.pool.1", "pyramid/branch_4"),
    ],
)
