"""DeepLabV3 and V3+: dilation instead of the last strides, and a pyramid of rates whose branches are concatenated."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules, below
from kseg.layers import ASPP, ConvNormAct, CropLike, Resize, SegmentationHead
from kseg.zoo import _smp_table
from kseg.zoo._builder import builder
from kseg.zoo.fcn import AUXILIARY_RULES, auxiliary_head


@builder
def deeplabv3(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    multi_grid: Sequence[int] | None = None,
    filters: int = 256,
    dropout: float = 0.1,
    extra_conv: bool = False,
    auxiliary: bool = False,
    align_corners: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLabV3: atrous spatial pyramid pooling with image pooling on a dilated encoder.

    V3 concatenates the branches of the pyramid (V2 sums scores). The logits are upsampled bilinearly to the size of the
    image. torchvision's model is `encoder="resnet50", output_stride=8, dropout=0.5, extra_conv=True`.

    Args:
        output_stride: 8, 16 or 32: the stride of the encoder's last features; later strides become dilation.
        rates: Dilation rates of the pyramid; None for (6, 12, 18) at stride 16, as in the paper, twice that at stride 8
            and half of it at stride 32. () leaves out the dilated branches, as in the paper of MobileNetV2.
        multi_grid: Factors for the dilation rates of the encoder's last spatial convolutions. ResNets from ResNet-50 on
            have one per block: (1, 2, 4), as in the paper, gives the last blocks the rates 2, 4, 8 at stride 16. None
            gives all the same rate, as in torchvision.
        filters: Number of channels of every branch.
        dropout: Fraction of the pyramid's output to drop.
        extra_conv: Whether a 3x3 convolution follows the pyramid, as in torchvision.
        auxiliary: Whether to add a second head on the last stage but one, for a loss with a weight of about 0.4.
        align_corners: Whether to upsample the logits with aligned corners, as segmentation-models-pytorch does; see
            `kseg.layers.SegmentationHead`.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Reference:
        Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017,
        https://arxiv.org/abs/1706.05587

    Example:
        >>> deeplabv3(3, encoder_weights=None, input_shape=(320, 321, 3)).output_shape
        (None, 320, 321, 3)
    """
    image = keras.Input(input_shape, name="image")
    stride = _stride(output_stride, encoder_depth)
    aspp = ASPP(filters, _rates(rates, stride), dropout=dropout, name="aspp")
    features = encoders.extract(
        image,
        encoder,
        weights=encoder_weights,
        depth=encoder_depth,
        output_stride=output_stride,
        multi_grid=multi_grid,
        penultimate=auxiliary,
    )
    x = aspp(features[stride])
    if extra_conv:
        x = ConvNormAct(filters, name="refine")(x)
    factor = stride if align_corners else None
    outputs = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    if auxiliary:
        extra = auxiliary_head(features.penultimate, num_classes, activation, like=image)
        outputs = {"logits": outputs, "auxiliary": extra}
    return keras.Model(image, outputs, name="deeplabv3")


@builder
def deeplabv3plus(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
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
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DeepLabV3+: the pyramid of DeepLabV3, upsampled to stride 4 and refined with the encoder's features there.

    The model of segmentation-models-pytorch is `separable=True, extra_conv=True, decoder_convs=1, dropout=0.5,
    rates=(12, 24, 36), align_corners=True`.

    Args:
        output_stride: 8, 16 or 32: the stride of the encoder's last features; later strides become dilation.
        rates: Dilation rates of the pyramid; None for (6, 12, 18) at stride 16; see `deeplabv3`.
        multi_grid: Factors for the dilation rates of the encoder's last spatial convolutions; see `deeplabv3`.
        filters: Number of channels of every branch and of the decoder.
        low_level_filters: Number of channels to which the features at stride 4 are reduced.
        decoder_convs: Number of 3x3 convolutions after the concatenation.
        separable: Whether the 3x3 convolutions of pyramid and decoder are depthwise separable.
        extra_conv: Whether a 3x3 convolution follows the pyramid.
        dropout: Fraction of the pyramid's output to drop.
        align_corners: Whether to upsample features and logits as segmentation-models-pytorch does; see `deeplabv3`.

    Reference:
        Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
        Segmentation, 2018, https://arxiv.org/abs/1802.02611

    Example:
        >>> deeplabv3plus(3, encoder_weights=None, input_shape=(320, 321, 3)).output_shape
        (None, 320, 321, 3)
    """
    image = keras.Input(input_shape, name="image")
    stride = _stride(output_stride, encoder_depth)
    aspp = ASPP(filters, _rates(rates, stride), separable=separable, dropout=dropout, name="aspp")
    features = encoders.extract(
        image,
        encoder,
        weights=encoder_weights,
        depth=encoder_depth,
        output_stride=output_stride,
        multi_grid=multi_grid,
    )
    x = aspp(features[stride])
    if extra_conv:
        x = ConvNormAct(filters, separable=separable, name="refine")(x)
    if align_corners:
        x = Resize(factor=stride // 4, align_corners=True, name="enlarge")(x)
        x = CropLike("corner", extend=True, name="crop")(x, like=features[4])
    else:
        x = Resize(name="enlarge")(x, like=features[4])
    low_level = ConvNormAct(low_level_filters, 1, name="low_level")(features[4])
    x = keras.layers.Concatenate(name="concatenate")([x, low_level])
    for index in range(1, decoder_convs + 1):
        x = ConvNormAct(filters, separable=separable, name=f"decoder_{index}")(x)
    factor = 4 if align_corners else None
    logits = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    return keras.Model(image, logits, name="deeplabv3plus")


def _stride(output_stride: int, encoder_depth: int) -> int:
    """The stride of the features that the pyramid takes."""
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
    return min(output_stride, 2**encoder_depth)


def _rates(rates: Sequence[int] | None, stride: int) -> Sequence[int]:
    return [rate * 16 // stride for rate in (6, 12, 18)] if rates is None else rates


def _aspp_rules(branches: int = 3, *, separable: bool = False) -> Rules:
    """The rules for `kseg.layers.ASPP`, from the names in torchvision and segmentation-models-pytorch."""
    image, point = branches + 1, r"\.1" if separable else ""
    return (
        (r"convs\.0\.0", "point/conv"),
        (r"convs\.0\.1", "point/norm"),
        (rf"convs\.{image}\.1", "image/conv"),
        (rf"convs\.{image}\.2", "image/norm"),
        *([(r"convs\.(\d)\.0\.0", r"branch_\1/depthwise")] if separable else []),
        (rf"convs\.(\d)\.0{point}", r"branch_\1/conv"),
        (r"convs\.(\d)\.1", r"branch_\1/norm"),
        (r"project\.0", "project/conv"),
        (r"project\.1", "project/norm"),
    )


TORCHVISION: Rules = (
    *below(_aspp_rules(), "classifier.0.", "aspp/"),
    (r"classifier\.1", "refine/conv"),
    (r"classifier\.2", "refine/norm"),
    (r"classifier\.4", "head/conv"),
    *AUXILIARY_RULES,
)
"""From the modules of torchvision's DeepLabV3, without its encoder, to the layers of `deeplabv3`."""

_SMP = {
    "decoder_channels": _smp_table.Option("filters", 256),
    "decoder_atrous_rates": _smp_table.Option("rates", (12, 24, 36)),
    "decoder_aspp_dropout": _smp_table.Option("dropout", 0.5),
}

_smp_table.register(
    "DeepLabV3",
    "deeplabv3",
    {
        **_SMP,
        "encoder_output_stride": _smp_table.Option("output_stride", 8),
        "decoder_aspp_separable": _smp_table.Option(None, False, {False: False}),
        "upsampling": _smp_table.Option(None, None),
    },
    arguments=lambda options: {"multi_grid": _smp_table.dilation(options), "extra_conv": True, "align_corners": True},
    upsampling=lambda options: _stride(options["encoder_output_stride"], options["encoder_depth"]),
    rules=lambda options: [
        *below(_aspp_rules(len(options["decoder_atrous_rates"])), "decoder.aspp.", "aspp/"),
        *_smp_table.named("decoder.conv", "refine/conv"),
        *_smp_table.named("decoder.bn", "refine/norm"),
        *below(_aspp_rules(len(options["decoder_atrous_rates"])), "decoder.0.", "aspp/"),  # its names until 0.3
        *_smp_table.named("decoder.1", "refine/conv"),
        *_smp_table.named("decoder.2", "refine/norm"),
    ],
)
_smp_table.register(
    "DeepLabV3Plus",
    "deeplabv3plus",
    {
        **_SMP,
        "encoder_output_stride": _smp_table.Option("output_stride", 16),
        "decoder_aspp_separable": _smp_table.Option("separable", True, {True: True}),
        "upsampling": _smp_table.Option(None, 4),
    },
    arguments=lambda options: {
        "multi_grid": _smp_table.dilation(options),
        "extra_conv": True,
        "align_corners": True,
        "decoder_convs": 1,
    },
    upsampling=lambda options: 4,
    rules=lambda options: [
        *below(_aspp_rules(len(options["decoder_atrous_rates"]), separable=True), "decoder.aspp.0.", "aspp/"),
        *_smp_table.named("decoder.aspp.1.0", "refine/depthwise"),
        *_smp_table.named("decoder.aspp.1.1", "refine/conv"),
        *_smp_table.named("decoder.aspp.2", "refine/norm"),
        *_smp_table.conv_norm("decoder.block1", "low_level"),
        *_smp_table.named("decoder.block2.0.0", "decoder_1/depthwise"),
        *_smp_table.named("decoder.block2.0.1", "decoder_1/conv"),
        *_smp_table.named("decoder.block2.1", "decoder_1/norm"),
    ],
)
