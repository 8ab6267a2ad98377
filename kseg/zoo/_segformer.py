"""SegFormer: a transformer with features at four strides, and a decoder of dense layers only."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg import checkpoints, encoders
from kseg.layers import PyramidFusion, Resize, SegmentationHead
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo._builder import builder


@builder
def segformer(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "mit_b0",
    encoder_weights: str | os.PathLike | None = "imagenet",
    encoder_depth: int = 5,
    filters: int = 256,
    dropout: float = 0.1,
    finest: bool = False,
    align_corners: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds a SegFormer: features at strides 4 to 32, projected to one width, mixed at stride 4 and scored.

    The encoders of the paper are `mit_b0` to `mit_b5`; others give the features from stride 4 on to the same decoder.
    Their ImageNet weights are downloaded from the Hugging Face hub (`pip install "kseg[hub]"`); NVIDIA's license for
    them forbids commercial use.

    Args:
        filters: Number of channels of the decoder; in the paper 256 for `mit_b0` and `mit_b1`, and 768 for the others.
        finest: Whether the features at stride 2, reduced to stride 4, are used too, as in segmentation-models-pytorch
            on encoders that have them.
        align_corners: Whether to upsample the logits with aligned corners, as segmentation-models-pytorch does.

    Reference:
        Xie, Wang, Yu, Anandkumar, Alvarez, Luo: SegFormer: Simple and Efficient Design for Semantic Segmentation with
        Transformers, 2021, https://arxiv.org/abs/2105.15203

    Example:
        >>> segformer(3, encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, encoder, weights=encoder_weights, depth=encoder_depth)
    maps = {stride: feature for stride, feature in features.by_stride.items() if stride >= 4}
    if len(maps) < 2:
        raise ValueError(f"segformer needs features at two strides from 4 on, the encoder has {[*features.by_stride]}")
    reduced = [Resize(name="reduce")(features[2], like=features[4])] if finest else []
    x = PyramidFusion(filters, name="fusion")([*reduced, *maps.values()])
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    factor = min(maps) if align_corners else None
    logits = SegmentationHead(num_classes, activation=activation, aligned_factor=factor, name="head")(x, like=image)
    return keras.Model(image, logits, name="segformer")


_FIELDS = {
    "filters": "hidden_sizes",
    "depths": "depths",
    "heads": "num_attention_heads",
    "reductions": "sr_ratios",
    "kernel_sizes": "patch_sizes",
    "expansions": "mlp_ratios",
}
"""Options of the encoder, and the fields of `config.json` that set them."""

EPSILON = 1e-5
"""Epsilon of all layer normalization in transformers, which does not use the field `layer_norm_eps`."""


def _arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    config.only("num_encoder_blocks", 4)
    config.only("strides", [4, 2, 2, 2])
    config.only("hidden_act", "gelu")
    defaults = encoders.mit.options("mit_b0")
    sizes: dict[str, Any] = {
        option: config.numbers(field, defaults[option], whole=option != "expansions")
        for option, field in _FIELDS.items()
    }
    if any(width % heads for width, heads in zip(sizes["filters"], sizes["heads"], strict=True)):
        raise ValueError(f"{config.name}: hidden_sizes must be multiples of num_attention_heads")
    for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if config.number(field, 0.0, whole=False):
            warnings.warn(f"{config.name}: training here does not apply {field} = {config[field]}", stacklevel=2)
    sizes["epsilon"] = EPSILON
    sizes["drop_path"] = config.number("drop_path_rate", 0.1, whole=False)
    if not checkpoints.is_imagenet(mean, std):
        sizes |= {"mean": mean, "std": std}
    return {
        "encoder": encoders.mit.shortest(sizes),
        "filters": config.number("decoder_hidden_size", 256),
        "dropout": config.number("classifier_dropout_prob", 0.1, whole=False),
    }


def _config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    encoder = arguments["encoder"]
    name = encoder["name"] if isinstance(encoder, Mapping) else encoder
    if name not in encoders.mit.VARIANTS:
        raise ValueError(f"SegFormer of transformers has a MiT encoder, not {name or 'one of your own'}")
    if arguments.get("align_corners"):
        raise ValueError("SegFormer of transformers lacks align_corners=True")
    if arguments.get("encoder_depth", 5) != 5:
        raise ValueError("SegFormer of transformers lacks encoder_depth below 5")
    given = {key: encoder[key] for key in encoder if key != "name"} if isinstance(encoder, Mapping) else {}
    options = {**encoders.mit.options(name), **given}
    if options["epsilon"] != EPSILON:
        warnings.warn(
            f"SegFormer of transformers normalizes with epsilon={EPSILON}, this model with {options['epsilon']}: its "
            "logits will differ slightly there",
            stacklevel=4,
        )
    fields: dict[str, Any] = {field: list(options[option]) for option, field in _FIELDS.items()}
    fields |= {
        "model_type": "segformer",
        "num_encoder_blocks": 4,
        "strides": [4, 2, 2, 2],
        "hidden_act": "gelu",
        "drop_path_rate": options["drop_path"],
        "decoder_hidden_size": arguments["filters"],
        "classifier_dropout_prob": arguments["dropout"],
        "semantic_loss_ignore_index": 255,
        "reshape_last_stage": True,
    }
    normalization = encoders.channels.Normalization(tuple(options["mean"]), tuple(options["std"]))
    mean, std = normalization.fitted(arguments["input_shape"][-1])
    return fields, mean.tolist(), std.tolist()


_RULES: checkpoints.Rules = [
    *checkpoints.below(encoders.mit.TRANSFORMERS, "segformer.", "encoder/"),
    *((rf"decode_head\.linear_c\.{stage}\.proj", f"fusion/project_{stage + 1}") for stage in range(4)),
    *((rf"decode_head\.linear_projections\.{stage}\.proj", f"fusion/project_{stage + 1}") for stage in range(4)),
    (r"decode_head\.linear_fuse", "fusion/fuse/conv"),
    (r"decode_head\.batch_norm", "fusion/fuse/norm"),
    (r"decode_head\.classifier", "head/conv"),
]

checkpoints.ARCHITECTURES["SegformerForSemanticSegmentation"] = checkpoints.Architecture(
    "segformer", _arguments, _config, _RULES
)


def _smp_rules(options: _smp_table.Options) -> checkpoints.Rules:
    rules = _smp_table.conv_norm("decoder.fuse_stage", "fusion/fuse")
    stages = options["encoder_depth"] - _smp_encoders.ENCODERS[options["encoder_name"]].empty
    for stage in range(stages):  # that library counts from the coarsest
        rules += _smp_table.named(f"decoder.mlp_stage.{stage}.linear", f"fusion/project_{stages - stage}")
    return rules


_smp_table.register(
    "Segformer",
    "segformer",
    {
        "decoder_segmentation_channels": _smp_table.Option("filters", 256),
        "upsampling": _smp_table.Option(None, 4),
    },
    arguments=lambda options: {
        "finest": not _smp_encoders.ENCODERS[options["encoder_name"]].empty,
        "align_corners": True,
        "dropout": 0.0,
    },
    upsampling=lambda options: 4,
    rules=_smp_rules,
)
