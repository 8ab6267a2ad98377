"""PAN: attention over a pyramid of the coarsest features, then finer features weighted by the means of coarser ones."""

import os
from collections.abc import Sequence

import keras

from kseg import encoders
from kseg.checkpoints import Rules
from kseg.layers import ConvNormAct, FeaturePyramidAttention, Resize, SegmentationHead
from kseg.zoo import _smp_table
from kseg.zoo._builder import builder


@builder
def pan(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "efficientnet_lite0",
    encoder_weights: str | None = "imagenet",
    encoder_depth: int = 5,
    output_stride: int = 16,
    multi_grid: Sequence[int] | None = None,
    filters: int = 32,
    interpolation: str = "bilinear",
    align_corners: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds the Pyramid Attention Network, in the form of segmentation-models-pytorch.

    That library has `align_corners=True`, and `multi_grid=(1, ...)` with one entry per convolution that is dilated.

    The coarsest features pass through feature pyramid attention. For each finer stage down to stride 4, its convolved
    features are weighted by the means of the coarser ones and added to these.

    Args:
        output_stride: 16 or 32: the stride of the encoder's last features; a later stride becomes dilation.
        multi_grid: Factors for the dilation rates of the encoder's last spatial convolutions; see `deeplabv3`.
        filters: Number of channels of the decoder.
        interpolation: How the finer stages upsample, `"bilinear"` or `"nearest"`.
        align_corners: Whether to upsample with aligned corners.

    Reference:
        Li, Xiong, An, Wang: Pyramid Attention Network for Semantic Segmentation, 2018,
        https://arxiv.org/abs/1805.10180

    Example:
        >>> pan(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if output_stride not in (16, 32):
        raise ValueError(f"output_stride must be 16 or 32, got {output_stride}")
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(
        image,
        encoder,
        weights=encoder_weights,
        depth=encoder_depth,
        output_stride=output_stride if encoder_depth == 5 else 32,
        multi_grid=multi_grid,
        penultimate=True,
    )
    finer = [features[4], *(feature for stride, feature in features.by_stride.items() if stride > 4)][:-1]
    if all(features.penultimate is not each for each in finer):  # the last stages have the same stride
        finer.append(features.penultimate)
    aligned = align_corners and interpolation == "bilinear"
    x = FeaturePyramidAttention(filters, align_corners=align_corners, name="pyramid")(features.coarsest)
    for level, feature in enumerate(reversed(finer), start=1):
        x = _attention_upsampling(x, feature, filters, interpolation, aligned, f"decoder_{level}")
    head = SegmentationHead(
        num_classes,
        kernel_size=3,
        activation=activation,
        aligned_factor=4 if align_corners else None,
        name="head",
    )
    return keras.Model(image, head(x, like=image), name="pan")


def _attention_upsampling(
    coarse: keras.KerasTensor, fine: keras.KerasTensor, filters: int, interpolation: str, aligned: bool, name: str
) -> keras.KerasTensor:
    """Global attention upsample: the means of the coarse features weight the channels of the fine ones."""
    x = ConvNormAct(filters, use_bias=True, name=f"{name}_fine")(fine)
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype="float32", name=f"{name}_mean")(coarse)
    gate = ConvNormAct(filters, 1, activation="sigmoid", use_bias=True, name=f"{name}_gate")(mean)
    x = keras.layers.Multiply(name=f"{name}_weighted")([x, gate])
    coarse = Resize(interpolation=interpolation, align_corners=aligned, name=f"{name}_enlarge")(coarse, like=x)
    return keras.layers.Add(name=f"{name}_add")([coarse, x])


def _smp_rules(options: _smp_table.Options) -> Rules:
    parts = {
        "branch1.1": "image", "mid.0": "middle", "down1.1": "down1", "down2.1": "down2", "down3.1": "down3",
        "conv1": "across1", "conv2": "across2", "down3.2": "across3",
    }  # fmt: skip
    pairs = [(f"decoder.fpa.{module}", f"pyramid/{name}") for module, name in parts.items()]
    for level in range(1, options["encoder_depth"] - 1):
        module, name = f"decoder.gau{options['encoder_depth'] - 1 - level}", f"decoder_{level}"
        pairs += [(f"{module}.conv2", f"{name}_fine"), (f"{module}.conv1.1", f"{name}_gate")]
    return [rule for module, path in pairs for rule in _smp_table.conv_norm(module, path, ("conv", "bn"))]


_smp_table.register(
    "PAN",
    "pan",
    {
        "encoder_output_stride": _smp_table.Option("output_stride", 16),
        "decoder_channels": _smp_table.Option("filters", 32),
        "decoder_interpolation": _smp_table.Option(
            "interpolation", "bilinear", {"bilinear": "bilinear", "nearest": "nearest"}
        ),
        "upsampling": _smp_table.Option(None, 4),
    },
    arguments=lambda options: {"multi_grid": _smp_table.dilation(options), "align_corners": True},
    upsampling=lambda options: 4,
    rules=_smp_rules,
)
