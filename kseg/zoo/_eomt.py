"""EoMT: a Vision Transformer whose last blocks also process learned queries, which predict masks and their classes."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg import checkpoints, encoders, pretrained
from kseg.layers import (
    DepthwiseConv2D,
    FitPatches,
    QueryMasks,
    QueryScores,
    TransposeUpsampling2D,
    check_activation,
    exact_gelu,
)
from kseg.zoo import _eomt_names
from kseg.zoo._builder import builder

_SET_HERE = ("blocks", "readout", "feature_norms", "queries", "query_blocks")


@builder
def eomt(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "vit_base",
    encoder_weights: str | os.PathLike | None = "imagenet",
    num_queries: int = 100,
    num_blocks: int = 4,
    num_upscales: int = 2,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds EoMT for semantic segmentation: a Vision Transformer that is encoder and decoder in one.

    Learned queries are further tokens of the last blocks. Each of them then predicts a class, and a mask by its product
    with the features of the patches, which are enlarged. The score of a class at a pixel is the sum of all masks, each
    weighted by the probability of the class. The logits are the logarithms of these sums, see
    `kseg.layers.QueryScores`: their argmax is that of `post_process_semantic_segmentation` of transformers, and the
    losses of kseg train them. (The paper trains each query on the segment that fits best, and at first hides from it
    the patches outside its mask.)

    The published models are on DINOv2 with patches of 16 pixels:
    `{"name": "dinov2_large_registers", "patch": 16, "grid": 32}` for images of 512x512. Images that do not fill their
    last patches are extended by zeros, and the logits are cropped to them.

    Args:
        encoder: A Vision Transformer: a name in `kseg.encoders.vit.VARIANTS`, or a dictionary of such a name and
            options of that encoder.
        num_queries: Number of queries.
        num_blocks: Number of blocks that process the queries, the last ones.
        num_upscales: How often the map of patches is enlarged to twice its size before the masks.

    Raises:
        ValueError: If the encoder is no Vision Transformer, or has fewer blocks than `num_blocks`.

    Reference:
        Kerssies et al.: Your ViT is Secretly an Image Segmentation Model, 2025, https://arxiv.org/abs/2503.19108

    Example:
        >>> small = {"name": "vit_tiny", "depth": 4}
        >>> eomt(3, encoder=small, encoder_weights=None, num_queries=10, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    plain, patch = _plain(encoder, num_blocks)
    image = keras.Input(input_shape, name="image")
    features = encoders.extract(image, {**plain, "queries": num_queries, "query_blocks": num_blocks}, weights=None)
    queries, patches = features.outputs
    width = patches.shape[-1]
    classes = keras.layers.Dense(num_classes + 1, name="classes")(queries)  # the last one is "no object"
    for index in (1, 2, 3):
        queries = keras.layers.Dense(width, name=f"mask_{index}")(queries)
        queries = keras.layers.Activation(exact_gelu, name=f"mask_{index}_gelu")(queries) if index < 3 else queries
    x = patches
    for level in range(1, num_upscales + 1):
        x = _doubled(x, f"upscale_{level}")
    masks = QueryMasks(name="masks")([x, queries])
    masks = FitPatches(patch, dtype="float32", name="masks_fit")(masks, patches, image)
    scores = QueryScores(name="scores")
    check_activation(scores, activation, num_classes)
    logits = scores(masks, classes)
    if activation:
        logits = keras.layers.Activation(activation, dtype="float32", name=f"scores_{activation}")(logits)
    model = keras.Model(image, logits, name="eomt")
    if encoder_weights is not None:  # they are those of an encoder without queries
        trained = encoders.build(plain, input_shape=tuple(input_shape), weights=encoder_weights)
        own = pretrained.weight_keys(model.get_layer("encoder"))
        for key, value in pretrained.weight_keys(trained).items():
            own[key].assign(value)
    return model


def _plain(encoder: encoders.EncoderLike, num_blocks: int) -> tuple[dict[str, Any], int]:
    """The encoder without queries, as a dictionary, and the side of its patches."""
    name = encoder if isinstance(encoder, str) else encoder.get("name") if isinstance(encoder, Mapping) else None
    if name not in encoders.vit.VARIANTS:
        raise ValueError(
            f"eomt needs a Vision Transformer, {', '.join(encoders.vit.VARIANTS)}, not "
            f"{repr(name) if name else 'an encoder of your own'}"
        )
    given = dict(encoder) if isinstance(encoder, Mapping) else {"name": name}
    if fixed := [key for key in _SET_HERE if key in given]:
        raise ValueError(
            f"eomt sets {', '.join(fixed)} of the encoder itself: leave {'them' if fixed[1:] else 'it'} out"
        )
    options = {**encoders.vit.options(name), **given}
    if not 1 <= num_blocks <= options["depth"]:
        raise ValueError(f"num_blocks must be from 1 to the {options['depth']} blocks of the encoder, got {num_blocks}")
    return {**given, "feature_norms": True}, options["patch"]


def _doubled(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """A map at twice its size."""
    start = keras.initializers.HeNormal()
    x = TransposeUpsampling2D(x.shape[-1], kernel_size=2, kernel_initializer=start, use_bias=True, name=f"{name}_conv")(
        x
    )
    x = keras.layers.Activation(exact_gelu, name=f"{name}_gelu")(x)
    x = DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    return keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)


def _arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    config.only("hidden_act", "gelu")
    config.only("use_swiglu_ffn", False)
    for field in ("hidden_dropout_prob", "attention_dropout"):
        if config.number(field, 0.0, whole=False):
            warnings.warn(f"{config.name}: training here does not apply {field} = {config[field]}", stacklevel=2)
    if config.number("drop_path_rate", 0.0, whole=False):
        warnings.warn(
            f"{config.name}: training here drops blocks at rates that increase from 0 to drop_path_rate = "
            f"{config['drop_path_rate']}, not all at this rate",
            stacklevel=2,
        )
    patch, size, heads = config.side("patch_size", 16), config.side("image_size", 640), config.side(_HEADS, 16)
    options = {
        "filters": config.number("hidden_size", 1024),
        "depth": config.number("num_hidden_layers", 24),
        "heads": heads,
        "patch": patch,
        "grid": size // patch,
        "registers": config.number("num_register_tokens", 4),
        "expansion": config.number("mlp_ratio", 4),
        "layer_scale": config.number("layerscale_value", 1.0, whole=False),
        "epsilon": config.number("layer_norm_eps", 1e-6, whole=False),
        "drop_path": config.number("drop_path_rate", 0.0, whole=False),
        **({} if checkpoints.is_imagenet(mean, std) else {"mean": mean, "std": std}),
    }
    if options["filters"] % heads:
        raise ValueError(f"{config.name}: hidden_size must be a multiple of {_HEADS}")
    if not options["layer_scale"]:
        raise ValueError(f"{config.name}: layerscale_value must be positive, got 0")
    num_blocks = config.number("num_blocks", 4)
    if not 1 <= num_blocks <= options["depth"]:
        raise ValueError(f"{config.name}: num_blocks must be from 1 to num_hidden_layers, got {num_blocks}")
    return {
        "encoder": encoders.vit.shortest(options),
        "num_queries": config.side("num_queries", 200),
        "num_blocks": num_blocks,
        "num_upscales": config.number("num_upscale_blocks", 2),
    }


_HEADS = "num_attention_heads"


def _config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    plain, patch = _plain(arguments["encoder"], arguments["num_blocks"])
    options = {**encoders.vit.options(plain["name"]), **plain}
    if not isinstance(ratio := options["expansion"], int) and not ratio.is_integer():
        raise ValueError(f"EoMT of transformers has an expansion that is a whole number, not {ratio}")
    fields = {
        "model_type": "eomt",
        "hidden_size": options["filters"],
        "num_hidden_layers": options["depth"],
        "num_attention_heads": options["heads"],
        "mlp_ratio": int(ratio),
        "hidden_act": "gelu",
        "layer_norm_eps": options["epsilon"],
        "layerscale_value": options["layer_scale"] or 1.0,
        "drop_path_rate": options["drop_path"],
        "patch_size": patch,
        "image_size": patch * options["grid"],
        "num_register_tokens": options["registers"],
        "num_queries": arguments["num_queries"],
        "num_blocks": arguments["num_blocks"],
        "num_upscale_blocks": arguments["num_upscales"],
        "no_object_weight": 0.1,
    }
    normalization = encoders.channels.Normalization(tuple(options["mean"]), tuple(options["std"]))
    mean, std = normalization.fitted(arguments["input_shape"][-1])
    return fields, mean.tolist(), std.tolist()


checkpoints.ARCHITECTURES["EomtForUniversalSegmentation"] = checkpoints.Architecture(
    "eomt",
    _arguments,
    _config,
    _eomt_names.RULES,
    unused=_eomt_names.UNUSED,
    enlarges=True,
    loaded=_eomt_names.loaded,
    stored=_eomt_names.stored,
    processor="EomtImageProcessor",
    logarithms=True,
)
