"""DPT: the tokens of a Vision Transformer, reassembled as a pyramid of features and fused from coarse to fine."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg import checkpoints, encoders
from kseg.layers import (
    Conv2D,
    ConvNormAct,
    FitPatches,
    Resize,
    SegmentationHead,
    TransposeUpsampling2D,
    check_activation,
    exact_gelu,
)
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo._builder import builder
from kseg.zoo._dpt_names import RULES, UNUSED, smp_rules, smp_unused

_READOUTS = {"ignore": "ignore", "add": "add", "project": "append"}


@builder
def dpt(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vit_base",
    encoder_weights: str | os.PathLike | None = "imagenet",
    level_filters: Sequence[int] = (96, 192, 384, 768),
    filters: int = 256,
    readout: str = "project",
    batch_norm: bool = True,
    first_units: int = 1,
    dropout: float = 0.1,
    auxiliary: bool = False,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds DPT: four features of a Vision Transformer, reassembled at strides 4 to 32 and fused from coarse to fine.

    The outputs of four blocks at equal distances (the option `blocks` of the encoder chooses others) are enlarged or
    reduced to a pyramid; with the patches of 14 pixels of DINOv2 its strides are 3.5 to 28. Encoders with features at
    several strides have a pyramid already, whose levels from stride 4 on are fused.

    Images that do not fill their last patches are extended by zeros, and the logits are cropped to them.

    Args:
        level_filters: Number of channels of the levels of the pyramid, finest first.
        filters: Number of channels of the fusion.
        readout: What a Vision Transformer's class token does: `"project"` (concatenated with every patch and
            projected), `"add"` or `"ignore"`. Other encoders have none.
        batch_norm: Whether batch normalization follows the convolutions of the fusion.
        first_units: Number of residual units on the coarsest level: 1, or 2 as in segmentation-models-pytorch.
        auxiliary: Whether to add a head on the fused features for a loss with a weight of about 0.4.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ...}`.

    Reference:
        Ranftl, Bochkovskiy, Koltun: Vision Transformers for Dense Prediction, 2021, https://arxiv.org/abs/2103.13413

    Example:
        >>> small = {"name": "vit_tiny", "depth": 4}
        >>> dpt(3, encoder=small, encoder_weights=None, filters=32, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if readout not in _READOUTS:
        raise ValueError(f"dpt: readout must be one of {[*_READOUTS]}, got {readout!r}")
    if first_units not in (1, 2):
        raise ValueError(f"dpt: first_units must be 1 or 2, got {first_units}")
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, _with_tokens(encoder, readout), weights=encoder_weights)
    strides = [*features.by_stride]
    patch = strides[0] if len(strides) == 1 else None
    maps = features.outputs if patch else [features[stride] for stride in strides if stride >= 4]
    if not 2 <= len(maps) <= len(level_filters):
        raise ValueError(
            f"dpt needs 2 to {len(level_filters)} features of a Vision Transformer or from stride 4 on, one for each "
            f"of level_filters: the encoder has {len(maps)}, at {', '.join(map(str, strides))}"
        )
    levels = {}
    for level, (x, width) in enumerate(zip(maps, level_filters, strict=False), start=1):
        if patch and readout == "project":
            x = keras.layers.Dense(maps[0].shape[-1] // 2, name=f"readout_{level}")(x)
            x = keras.layers.Activation(exact_gelu, name=f"readout_{level}_gelu")(x)
        x = Conv2D(width, 1, name=f"reassemble_{level}_project")(x)
        x = _resized(x, level, f"reassemble_{level}_resize") if patch else x
        levels[level] = Conv2D(filters, 3, padding="same", use_bias=False, name=f"reassemble_{level}_conv")(x)
    x = None
    for level, skip in reversed(levels.items()):
        name = f"fuse_{level}"
        if x is not None and patch:  # an odd number of patches makes x larger
            skip = Resize(name=f"{name}_match")(skip, like=x)
        if x is not None or first_units == 2:
            skip = _residual(skip, batch_norm, f"{name}_skip")
        x = skip if x is None else keras.layers.Add(name=f"{name}_add")([x, skip])
        x = _residual(x, batch_norm, f"{name}_unit")
        if patch or level == 1:
            x = Resize(factor=2, align_corners=True, name=f"{name}_enlarge")(x)
        else:
            x = Resize(align_corners=True, name=f"{name}_enlarge")(x, like=levels[level - 1])
        x = Conv2D(filters, 1, name=f"{name}_project")(x)

    def scored(name: str, doubled: bool) -> keras.KerasTensor:
        y = ConvNormAct(filters, name=f"{name}_conv")(x)
        y = keras.layers.Dropout(dropout, name=f"{name}_dropout")(y)
        head = SegmentationHead(num_classes, name=name)
        check_activation(head, activation, num_classes)
        y = head(y)
        if doubled:
            y = Resize(factor=2, align_corners=True, dtype="float32", name=f"{name}_double")(y)
        if patch:
            y = FitPatches(patch, dtype="float32", name=f"{name}_fit")(y, maps[0], image)
        else:
            y = Resize(dtype="float32", name=f"{name}_fit")(y, like=image)
        return keras.layers.Activation(activation, dtype="float32", name=f"{name}_{activation}")(y) if activation else y

    logits = scored("head", doubled=True)
    outputs = {"logits": logits, "auxiliary": scored("auxiliary", doubled=False)} if auxiliary else logits
    return keras.Model(image, outputs, name="dpt")


def _with_tokens(encoder: encoders.EncoderLike, readout: str) -> encoders.EncoderLike:
    """The encoder with the outputs of four blocks and the class token, if it is a Vision Transformer."""
    name = encoder if isinstance(encoder, str) else encoder.get("name") if isinstance(encoder, Mapping) else None
    if name not in encoders.vit.VARIANTS:
        return encoder
    given = encoder if isinstance(encoder, Mapping) else {"name": encoder}
    return {"blocks": 4, **given, "readout": _READOUTS[readout]}


def _resized(x: keras.KerasTensor, level: int, name: str) -> keras.KerasTensor:
    """A map of patches at the size of a level of the pyramid: 4, 2, 1 or 1/2 times as large."""
    if level < 3:
        factor, width = 8 // 2**level, x.shape[-1]
        options: dict[str, Any] = {"kernel_initializer": "he_normal", "use_bias": True}
        return TransposeUpsampling2D(width, factor, kernel_size=factor, **options, name=name)(x)
    for _ in range(level - 3):
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        x = Conv2D(x.shape[-1], 3, strides=2, name=name)(x)
    return x


def _residual(x: keras.KerasTensor, batch_norm: bool, name: str) -> keras.KerasTensor:
    y = keras.layers.ReLU(name=f"{name}_relu")(x)
    y = ConvNormAct(x.shape[-1], normalization=batch_norm, name=f"{name}_conv1")(y)
    y = ConvNormAct(x.shape[-1], normalization=batch_norm, activation=None, name=f"{name}_conv2")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    config.only("is_hybrid", False)
    if config.get("backbone_config") is not None:
        raise ValueError(f"{config.name}: DPTForSemanticSegmentation has no backbone_config, only a ViT of its own")
    for field, allowed in (("hidden_act", "gelu"), ("qkv_bias", True), ("head_in_index", -1)):
        config.only(field, allowed)
    config.only("reassemble_factors", [4, 2, 1, 0.5])
    config.only("readout_type", *("project", "add", "ignore"))
    batch_norm = config.get("use_batch_norm_in_fusion_residual") or False
    config.only("use_bias_in_fusion_residual", None, not batch_norm)
    for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if config.number(field, 0.0, whole=False):
            warnings.warn(f"{config.name}: training here does not apply {field} = {config[field]}", stacklevel=2)
    width, depth = config.number("hidden_size", 768), config.number("num_hidden_layers", 12)
    patch, size = config.side("patch_size", 16), config.side("image_size", 384)
    heads = config.side("num_attention_heads", 12)
    if width % heads:
        raise ValueError(f"{config.name}: hidden_size must be a multiple of num_attention_heads")
    blocks = config.get("backbone_out_indices", [2, 5, 8, 11])
    if not isinstance(blocks, list) or len(blocks) != 4 or blocks != sorted(set(blocks)) or blocks[3] != depth - 1:
        raise ValueError(
            f"{config.name}: backbone_out_indices must be four layers in ascending order that end with the last one, "
            f"{depth - 1}, got {blocks!r}"
        )
    options = {
        "filters": width,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "grid": size // patch,
        "expansion": config.number("intermediate_size", 3072) / width,
        "epsilon": config.number("layer_norm_eps", 1e-12, whole=False),
        "interpolation": "bilinear",
        **({} if blocks == [depth * n // 4 - 1 for n in range(1, 5)] else {"blocks": blocks}),
        **({} if checkpoints.is_imagenet(mean, std) else {"mean": mean, "std": std}),
    }
    return {
        "encoder": encoders.vit.shortest(options),
        "level_filters": config.numbers("neck_hidden_sizes", (96, 192, 384, 768)),
        "filters": config.number("fusion_hidden_size", 256),
        "readout": config.get("readout_type", "project"),
        "batch_norm": batch_norm,
        "dropout": config.number("semantic_classifier_dropout", 0.1, whole=False),
    }


def _config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    encoder = arguments["encoder"]
    name = encoder["name"] if isinstance(encoder, Mapping) else encoder
    if name not in encoders.vit.VARIANTS:
        raise ValueError(f"DPT of transformers has a ViT encoder, not {name or 'one of your own'}")
    given = {key: encoder[key] for key in encoder if key != "name"} if isinstance(encoder, Mapping) else {}
    options = {**encoders.vit.options(name), "blocks": 4, **given}
    needed = {"registers": 0, "layer_scale": None, "feature_norms": False, "interpolation": "bilinear"}
    for key, value in {**needed, "first_units": 1}.items():
        found = {**options, "first_units": arguments["first_units"]}[key]
        if found != value:
            raise ValueError(f"DPT of transformers has {key}={value!r}, not {found!r}")
    depth, blocks = options["depth"], options["blocks"]
    fields = {
        "model_type": "dpt",
        "is_hybrid": False,
        "hidden_size": options["filters"],
        "num_hidden_layers": depth,
        "num_attention_heads": options["heads"],
        "intermediate_size": round(options["filters"] * options["expansion"]),
        "hidden_act": "gelu",
        "layer_norm_eps": options["epsilon"],
        "patch_size": options["patch"],
        "image_size": options["patch"] * options["grid"],
        "backbone_out_indices": [depth * n // 4 - 1 for n in range(1, 5)] if blocks == 4 else blocks,
        "readout_type": arguments["readout"],
        "reassemble_factors": [4, 2, 1, 0.5],
        "neck_hidden_sizes": list(arguments["level_filters"]),
        "fusion_hidden_size": arguments["filters"],
        "use_batch_norm_in_fusion_residual": arguments["batch_norm"],
        "use_bias_in_fusion_residual": not arguments["batch_norm"],
        "use_auxiliary_head": arguments["auxiliary"],
        "semantic_classifier_dropout": arguments["dropout"],
        "semantic_loss_ignore_index": 255,
    }
    normalization = encoders.channels.Normalization(tuple(options["mean"]), tuple(options["std"]))
    mean, std = normalization.fitted(arguments["input_shape"][-1])
    return fields, mean.tolist(), std.tolist()


checkpoints.ARCHITECTURES["DPTForSemanticSegmentation"] = checkpoints.Architecture(
    "dpt",
    _arguments,
    _config,
    RULES,
    unused=rf"auxiliary_head\..*|dpt\.(layernorm|pooler)\..*|{UNUSED}\..*",
    processor="DPTImageProcessor",
    enlarges=True,
)


_VITS = [name for name, known in _smp_encoders.ENCODERS.items() if known.tokens]

_smp_table.register(
    "DPT",
    "dpt",
    {
        "encoder_name": _smp_table.Option(
            "encoder", "tu-vit_base_patch16_224", {name: _smp_encoders.ENCODERS[name].name for name in _VITS}
        ),
        "encoder_depth": _smp_table.Option(None, 4, {4: 4}),
        "encoder_output_indices": _smp_table.Option(None, None, {None: None}),
        "decoder_readout": _smp_table.Option("readout", "cat", {"cat": "project", "add": "add", "ignore": "ignore"}),
        "decoder_intermediate_channels": _smp_table.Option("level_filters", (256, 512, 1024, 1024)),
        "decoder_fusion_channels": _smp_table.Option("filters", 256),
        "dynamic_img_size": _smp_table.Option(None, True, {True: True, False: False, None: None}),
    },
    arguments=lambda options: {"first_units": 2, "dropout": 0.1},
    rules=smp_rules,
    unused=smp_unused,
)
