"""UPerNet: pyramid pooling of the coarsest features, and a feature pyramid whose levels are all concatenated."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg import checkpoints, encoders
from kseg.layers import ConvNormAct, PyramidPooling, Resize, SegmentationHead
from kseg.zoo import _smp_table
from kseg.zoo._backbones import RULES, UNUSED, read_backbone, write_backbone
from kseg.zoo._builder import builder


@builder
def upernet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "convnext_tiny",
    encoder_weights: str | os.PathLike | None = "imagenet",
    filters: int = 512,
    bins: Sequence[int] = (1, 2, 3, 6),
    dropout: float = 0.1,
    feature_norms: bool = False,
    align_corners: bool = False,
    auxiliary: bool = False,
    auxiliary_filters: int = 256,
    auxiliary_convs: int = 1,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds UPerNet for semantic segmentation: the features at strides 4 to 32, without the heads for other tasks.

    Means over grids of 1, 2, 3 and 6 cells are appended to the coarsest features, as in PSPNet. They are enlarged and
    added to the next finer features, step by step. The sums of all levels are convolved, enlarged to the finest level,
    concatenated and convolved. The paper's encoder is ResNet-50; ConvNeXt (`convnext_tiny`, `convnextv2_tiny`) and Swin
    (`swin_tiny`) give the models of their papers and of transformers.

    Args:
        filters: Number of channels of all levels.
        bins: Number of cells of the grids along each side.
        feature_norms: Whether the features of the encoder pass through layer normalization first.
        align_corners: Whether to upsample the logits with aligned corners.
            `feature_norms=True, align_corners=True, filters=256` is the network of segmentation-models-pytorch.
        auxiliary: Whether to add an FCN head on the second-coarsest features, for a loss with a weight of about 0.4.
        auxiliary_filters: Number of channels of the convolutions of that head.
        auxiliary_convs: Number of its 3x3 convolutions before the scores.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Reference:
        Xiao, Liu, Zhou, Jiang, Sun: Unified Perceptual Parsing for Scene Understanding, 2018,
        https://arxiv.org/abs/1807.10221

    Example:
        >>> small = {"name": "convnextv2_atto", "depths": (1, 1, 1, 1)}
        >>> upernet(3, encoder=small, encoder_weights=None, filters=32, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights)
    maps = {stride: feature for stride, feature in features.by_stride.items() if stride >= 4}
    if len(maps) < 2:
        raise ValueError(f"upernet needs features at two strides from 4 on, the encoder has {[*features.by_stride]}")
    if feature_norms:
        maps = {
            stride: keras.layers.LayerNormalization(epsilon=1e-6, name=f"feature_{stride}_norm")(x)
            for stride, x in maps.items()
        }
    *finer, coarsest = maps
    pyramid = PyramidPooling(filters, bins, normalize_one=True, name="pyramid")
    x = keras.layers.Concatenate(name="concatenate")([maps[coarsest], pyramid(maps[coarsest])])
    x = ConvNormAct(filters, name="pyramid_conv")(x)
    levels = {coarsest: x}
    for stride in reversed(finer):
        lateral = ConvNormAct(filters, 1, name=f"lateral_{stride}")(maps[stride])
        x = Resize(name=f"add_{stride}_enlarge")(x, like=lateral)
        x = keras.layers.Add(name=f"add_{stride}")([lateral, x])
        levels[stride] = ConvNormAct(filters, name=f"smooth_{stride}")(x)
    finest, *coarser = sorted(levels)
    enlarged = [Resize(name=f"fuse_{stride}_enlarge")(levels[stride], like=levels[finest]) for stride in coarser]
    x = keras.layers.Concatenate(name="fuse_concatenate")([levels[finest], *enlarged])
    x = ConvNormAct(filters, name="fuse")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    factor = finest if align_corners else None
    outputs = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    if auxiliary:
        x = maps[finer[-1]]
        for index in range(1, auxiliary_convs + 1):
            x = ConvNormAct(auxiliary_filters, name=f"auxiliary_conv_{index}")(x)
        extra = SegmentationHead(num_classes, activation=activation, name="auxiliary")(x, like=image)
        outputs = {"logits": outputs, "auxiliary": extra}
    return keras.Model(image, outputs, name="upernet")


def _arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    encoder, _ = read_backbone(config, mean, std)
    config.only("auxiliary_concat_input", False)
    bins = config.get("pool_scales", [1, 2, 3, 6])
    return {
        "encoder": encoder,
        "filters": config.number("hidden_size", 512),
        "bins": config.numbers("pool_scales", bins if isinstance(bins, list) else []),
        "dropout": 0.0,
    }


def _config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    for option in ("feature_norms", "align_corners"):
        if arguments.get(option):
            raise ValueError(f"UPerNet of transformers lacks {option}=True")
    backbone, mean, std = write_backbone(arguments["encoder"], arguments["input_shape"][-1])
    fields = {
        "model_type": "upernet",
        "backbone_config": backbone,
        "hidden_size": arguments["filters"],
        "pool_scales": list(arguments["bins"]),
        "use_auxiliary_head": arguments["auxiliary"],
        "auxiliary_channels": arguments["auxiliary_filters"],
        "auxiliary_num_convs": arguments["auxiliary_convs"],
        "auxiliary_concat_input": False,
        "loss_ignore_index": 255,
    }
    return fields, mean, std


def _conv_norm(module: str, path: str) -> list[tuple[str, str]]:
    return [(rf"{module}\.conv", f"{path}/conv"), (rf"{module}\.batch_norm", f"{path}/norm")]


_RULES: checkpoints.Rules = [
    *checkpoints.below(RULES, "backbone.", "encoder/"),
    # A model in memory has the prefix `swin.`, which `save_pretrained` removes.
    *checkpoints.below(encoders.swin.TRANSFORMERS, "backbone.swin.", "encoder/"),
    *(rule for i in range(9) for rule in _conv_norm(rf"decode_head\.psp_modules\.{i}\.1", f"pyramid/branch_{i + 1}")),
    *_conv_norm(r"decode_head\.bottleneck", "pyramid_conv"),
    *(rule for i in range(3) for rule in _conv_norm(rf"decode_head\.lateral_convs\.{i}", f"lateral_{4 * 2**i}")),
    *(rule for i in range(3) for rule in _conv_norm(rf"decode_head\.fpn_convs\.{i}", f"smooth_{4 * 2**i}")),
    *_conv_norm(r"decode_head\.fpn_bottleneck", "fuse"),
    (r"decode_head\.classifier", "head/conv"),
    *(rule for i in range(9) for rule in _conv_norm(rf"auxiliary_head\.convs\.{i}", f"auxiliary_conv_{i + 1}")),
    (r"auxiliary_head\.classifier", "auxiliary/conv"),
]

checkpoints.ARCHITECTURES["UperNetForSemanticSegmentation"] = checkpoints.Architecture(
    "upernet", _arguments, _config, _RULES, unused=rf"auxiliary_head\..*|backbone\.({UNUSED})", enlarges=True
)


def _smp_rules(options: _smp_table.Options) -> checkpoints.Rules:
    strides = (4, 8, 16, 32)
    rules = [
        rule
        for i, stride in enumerate(strides)
        for rule in _smp_table.named(f"decoder.feature_norms.{i}", f"feature_{stride}_norm")
    ]
    for i in range(4):
        rules += _smp_table.conv_norm(f"decoder.psp.blocks.{i}.1", f"pyramid/branch_{i + 1}")
    rules += _smp_table.conv_norm("decoder.psp.out_conv", "pyramid_conv")
    for i, stride in enumerate(reversed(strides[:-1])):
        rules += _smp_table.conv_norm(f"decoder.fpn_lateral_blocks.{i}.conv_norm_relu", f"lateral_{stride}")
        rules += _smp_table.conv_norm(f"decoder.fpn_conv_blocks.{i}", f"smooth_{stride}")
    return [*rules, *_smp_table.conv_norm("decoder.fusion_block", "fuse")]


_smp_table.register(
    "UPerNet",
    "upernet",
    {
        "encoder_depth": _smp_table.Option(None, 5, {5: 5}),
        "decoder_channels": _smp_table.Option("filters", 256),
        "decoder_use_norm": _smp_table.Option(None, "batchnorm", {"batchnorm": None}),
        "upsampling": _smp_table.Option(None, 4),
    },
    arguments=lambda options: {"feature_norms": True, "align_corners": True, "dropout": 0.0},
    upsampling=lambda options: 4,
    rules=_smp_rules,
)
