"""Backbones of transformers: the fields `backbone_config` of `config.json`, and the encoders that they describe."""

import warnings
from collections.abc import Mapping
from typing import Any

from kseg import checkpoints, encoders

STAGES = ["stage1", "stage2", "stage3", "stage4"]

RULES: checkpoints.Rules = list(dict.fromkeys([*encoders.convnext.TRANSFORMERS, *encoders.swin.TRANSFORMERS]))
"""From the modules and tensors of all backbones to those of the encoders."""

UNUSED = r"(swin\.)?layernorm\..*|.*\.relative_position_index"
"""An expression for tensors that only classification needs, or that follow from the size of the windows."""

# Options of the encoders, and the fields that set them.
_CONVNEXT = {"filters": "hidden_sizes", "depths": "depths"}
_SWIN = {
    "filters": "embed_dim",
    "depths": "depths",
    "heads": "num_heads",
    "window": "window_size",
    "expansion": "mlp_ratio",
}


def read_backbone(
    config: checkpoints.Config, mean: list[float], std: list[float]
) -> tuple[str | dict[str, Any], list[int]]:
    """Returns the encoder for a configuration and for the constants of the normalization, from 0 to 255.

    Args:
        config: The configuration of the whole model, with the field `backbone_config`.
        mean: Mean of each channel.
        std: Standard deviation of each channel.

    Returns:
        The argument `encoder` of a builder, and the number of channels of each feature.

    Raises:
        ValueError: If kseg cannot build it; the message names the field.
    """
    backbone = config.part("backbone_config")
    if "model_type" not in backbone:
        raise ValueError(f"{backbone.name} has no model_type")
    backbone = checkpoints.Config({"out_features": None, **backbone}, backbone.name)
    backbone.only("model_type", "convnext", "convnextv2", "swin")
    backbone.only("out_features", STAGES)
    backbone.only("patch_size", 4, [4, 4])
    backbone.only("hidden_act", "gelu")
    options: dict[str, Any] = {} if checkpoints.is_imagenet(mean, std) else {"mean": mean, "std": std}
    if backbone["model_type"] == "swin":
        return _read_swin(backbone, options)
    second = backbone["model_type"] == "convnextv2"
    backbone.only("num_stages", 4)
    defaults = encoders.convnext.options("convnext_tiny")
    options |= {option: backbone.numbers(field, defaults[option]) for option, field in _CONVNEXT.items()}
    options["drop_path"] = backbone.number("drop_path_rate", 0.0, whole=False)
    if not second:
        options["layer_scale"] = backbone.number("layer_scale_init_value", 1e-6, whole=False)
        if not options["layer_scale"]:
            raise ValueError(f"{backbone.name}: layer_scale_init_value must be positive, got 0")
    return encoders.convnext.shortest(options, second=second), options["filters"]


def _read_swin(backbone: checkpoints.Config, options: dict[str, Any]) -> tuple[str | dict[str, Any], list[int]]:
    backbone.only("qkv_bias", True)
    backbone.only("use_absolute_embeddings", False)
    backbone.only("layer_norm_eps", 1e-5)
    for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if backbone.number(field, 0.0, whole=False):
            warnings.warn(f"{backbone.name}: training here does not apply {field} = {backbone[field]}", stacklevel=2)
    defaults = encoders.swin.options("swin_tiny")
    options |= {
        "filters": backbone.number("embed_dim", 96),
        "depths": backbone.numbers("depths", defaults["depths"]),
        "heads": backbone.numbers("num_heads", defaults["heads"]),
        "window": backbone.number("window_size", 7),
        "expansion": backbone.number("mlp_ratio", 4.0, whole=False),
        "drop_path": backbone.number("drop_path_rate", 0.1, whole=False),
    }
    channels = [options["filters"] * 2**stage for stage in range(4)]
    if any(width % heads for width, heads in zip(channels, options["heads"], strict=True)):
        raise ValueError(f"{backbone.name}: the channels, {channels}, must be multiples of num_heads")
    return encoders.swin.shortest(options), channels


def write_backbone(encoder: Any, channels: int) -> tuple[dict[str, Any], list[float], list[float]]:
    """Returns the field `backbone_config` for an encoder: the opposite of `read_backbone`.

    Args:
        encoder: The argument `encoder` of a builder.
        channels: Number of channels of the image.

    Returns:
        The fields, and the mean and the standard deviation of each channel, from 0 to 255.

    Raises:
        ValueError: If transformers has no such backbone.
    """
    name = encoder["name"] if isinstance(encoder, Mapping) else encoder
    given = {key: encoder[key] for key in encoder if key != "name"} if isinstance(encoder, Mapping) else {}
    fields: dict[str, Any] = {"out_features": STAGES, "num_channels": channels, "patch_size": 4, "hidden_act": "gelu"}
    if name in encoders.convnext.VARIANTS:
        options = {**encoders.convnext.options(name), **given}
        names, kind = _CONVNEXT, "convnextv2" if name.startswith("convnextv2") else "convnext"
        fields |= {"num_stages": 4}
        fields |= {"layer_scale_init_value": options["layer_scale"]} if kind == "convnext" else {}
    elif name in encoders.swin.VARIANTS:
        options, names, kind = {**encoders.swin.options(name), **given}, _SWIN, "swin"
    else:
        raise ValueError(
            f"kseg writes backbones of ConvNeXt and Swin for transformers, not {name or 'one of your own'}"
        )
    if not options["feature_norms"]:
        raise ValueError("the backbones of transformers have feature_norms: build the encoder with them")
    if not options.get("always_shift", True):
        raise ValueError("the backbones of transformers have always_shift: build the encoder with it")
    for option, field in names.items():
        value = options[option]
        fields[field] = list(value) if isinstance(value, list | tuple) else value
    fields |= {"model_type": kind, "drop_path_rate": options["drop_path"]}
    normalization = encoders.channels.Normalization(tuple(options["mean"]), tuple(options["std"]))
    mean, std = normalization.fitted(channels)
    return fields, mean.tolist(), std.tolist()
