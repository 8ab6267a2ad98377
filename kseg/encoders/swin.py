"""Swin Transformer, as in transformers, timm and torchvision, whose weight files it loads."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders import attention_names
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import added, drops, load_from_torchvision
from kseg.encoders.stages import shortest as shortest_of
from kseg.layers import ATTENTION_EPSILON, Conv2D, SpaceToDepth, WindowAttention, exact_gelu

# Channels of the first stage, which double with each stage, and number of blocks and of heads of the four stages.
VARIANTS = {
    "swin_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
}

OPTIONS = (
    "filters", "depths", "heads", "window", "always_shift", "expansion", "drop_path", "feature_norms", "mean", "std",
)  # fmt: skip
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

TIMM_MODELS: dict[str, dict[str, dict[str, int | bool]]] = {
    name: {
        f"{name}_patch4_window7_224": {"always_shift": False},
        **({f"{name}_patch4_window12_384": {"window": 12, "always_shift": False}} if name == "swin_base" else {}),
    }
    for name in VARIANTS
}
"""The models of timm with the same tensors, and their options."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    f"swin_{size}": f"https://download.pytorch.org/models/swin_{size[0]}-{digits}.pth"
    for size, digits in (("tiny", "704ceda3"), ("small", "5e29d889"), ("base", "68c6b09e"))
}


def _rules(block: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    ours = ["norm1", "attention/query", "attention/key", "attention/value", "attention/out", "attention/position_bias"]
    ours += ["norm2", "mlp_expand", "mlp_project"]
    return [
        (block.format(s=stage, n=2 * stage + 1) + rf"\.(\d+)\.{names[each]}", rf"stage{stage + 1}_\1_{each}")
        for stage in range(4)
        for each in ours
    ]


TRANSFORMERS: checkpoints.Rules = [
    (r"embeddings\.patch_embeddings\.projection", "patch_conv"),
    (r"embeddings\.norm", "patch_norm"),
    *_rules(
        r"encoder\.layers\.{s}\.blocks",
        {
            "norm1": "layernorm_before",
            "attention/query": r"attention\.self\.query",
            "attention/key": r"attention\.self\.key",
            "attention/value": r"attention\.self\.value",
            "attention/out": r"attention\.output\.dense",
            "attention/position_bias": r"attention\.self\.relative_position_bias_table",
            "norm2": "layernorm_after",
            "mlp_expand": r"intermediate\.dense",
            "mlp_project": r"output\.dense",
        },
    ),
    *_rules(  # the names in memory, from version 5 on; files have the ones above
        r"encoder\.layers\.{s}\.blocks",
        {
            "norm1": "layernorm_before",
            "attention/query": r"attention\.q_proj",
            "attention/key": r"attention\.k_proj",
            "attention/value": r"attention\.v_proj",
            "attention/out": r"attention\.o_proj",
            "attention/position_bias": r"attention\.relative_position_bias\.relative_position_bias_table",
            "norm2": "layernorm_after",
            "mlp_expand": r"mlp\.fc1",
            "mlp_project": r"mlp\.fc2",
        },
    ),
    *((rf"encoder\.layers\.{stage - 2}\.downsample\.norm", f"stage{stage}_merge_norm") for stage in range(2, 5)),
    *((rf"encoder\.layers\.{stage - 2}\.downsample\.reduction", f"stage{stage}_merge_dense") for stage in range(2, 5)),
    *((rf"hidden_states_norms\.stage{stage}", f"stage{stage}_norm") for stage in range(1, 5)),
]
"""From the modules and tensors of transformers to those of this network."""

_ATTENTION = {
    "norm1": "norm1",
    "attention/query": r"attn\.query",
    "attention/key": r"attn\.key",
    "attention/value": r"attn\.value",
    "attention/out": r"attn\.proj",
    "attention/position_bias": r"attn\.relative_position_bias_table",
    "norm2": "norm2",
}
TIMM: checkpoints.Rules = [
    (r"patch_embed\.proj", "patch_conv"),
    (r"patch_embed\.norm", "patch_norm"),
    *_rules(r"layers\.{s}\.blocks", {**_ATTENTION, "mlp_expand": r"mlp\.fc1", "mlp_project": r"mlp\.fc2"}),
    *((rf"layers\.{stage - 1}\.downsample\.norm", f"stage{stage}_merge_norm") for stage in range(2, 5)),
    *((rf"layers\.{stage - 1}\.downsample\.reduction", f"stage{stage}_merge_dense") for stage in range(2, 5)),
]
"""With query, key and value apart."""

TORCHVISION: checkpoints.Rules = [
    (r"features\.0\.0", "patch_conv"),
    (r"features\.0\.2", "patch_norm"),
    *_rules(r"features\.{n}", {**_ATTENTION, "mlp_expand": r"mlp\.0", "mlp_project": r"mlp\.3"}),
    *((rf"features\.{2 * stage - 2}\.norm", f"stage{stage}_merge_norm") for stage in range(2, 5)),
    *((rf"features\.{2 * stage - 2}\.reduction", f"stage{stage}_merge_dense") for stage in range(2, 5)),
]
"""With query, key and value apart."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: int | None = None,
    depths: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    window: int = 7,
    always_shift: bool = True,
    expansion: float = 4,
    drop_path: float = 0.1,
    feature_norms: bool = True,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a Swin Transformer as an encoder, with the outputs of its four stages at strides 4, 8, 16 and 32.

    Images, maps and windows that are not filled are extended by zeros at the bottom and at the right: sizes are rounded
    up.

    Args:
        name: A key of `VARIANTS`, which sets `filters`, `depths` and `heads`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's) or None.
        output_stride: 32, since attention has no dilated form.
        multi_grid: Empty, for the same reason.
        filters: Number of channels of the first stage, which doubles with each stage.
        depths: Number of blocks of the stages.
        heads: Number of heads of the attention of the stages.
        window: Side of the windows of the attention. Every other block shifts them by half of it.
        always_shift: Whether to shift them along a side that is covered by one window, too, as the backbone of
            transformers does. False gives the networks of torchvision and timm, whose ImageNet weights were trained
            without a shift in the last stage: images of 224x224 have 7x7 pixels there.
        expansion: Factor of the number of channels between the two dense layers of a block.
        drop_path: Fraction of the images for which the last block leaves out what it would add, during training; it
            increases linearly from 0 in the first block.
        feature_norms: Whether layer normalization follows each stage on the way to the output, as in the networks for
            detection and segmentation of the authors and of transformers. The ImageNet weights have none.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If the number of channels of a stage is not a multiple of its number of heads, or if the options
            do not belong to the ImageNet weights.

    Reference:
        Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo: Swin Transformer: Hierarchical Vision Transformer using Shifted
        Windows, 2021, https://arxiv.org/abs/2103.14030
    """
    known = VARIANTS[name]
    width, depths, heads = filters or known[0], depths or known[1], heads or known[2]
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = keras.layers.ZeroPadding2D(((0, 3), (0, 3)), name="patch_pad")(x)
    x = _norm("patch_norm")(Conv2D(width, 4, strides=4, name="patch_conv")(x))
    features = []
    for stage, (split, dropped) in enumerate(zip(heads, drops(drop_path, depths), strict=True), start=1):
        if stage > 1:
            width *= 2
            x = _norm(f"stage{stage}_merge_norm")(SpaceToDepth(name=f"stage{stage}_merge")(x))
            x = keras.layers.Dense(width, use_bias=False, name=f"stage{stage}_merge_dense")(x)
        for repeat, drop in enumerate(dropped):
            block, shift = f"stage{stage}_{repeat}", window // 2 if repeat % 2 else 0
            y = _norm(f"{block}_norm1")(x)
            y = WindowAttention(
                split, window=window, shift=shift, always_shift=always_shift, name=f"{block}_attention"
            )(y)
            x = added(x, y, drop, f"{block}_attention")
            y = _norm(f"{block}_norm2")(x)
            y = keras.layers.Dense(int(width * expansion), name=f"{block}_mlp_expand")(y)
            y = keras.layers.Activation(exact_gelu, name=f"{block}_gelu")(y)
            y = keras.layers.Dense(width, name=f"{block}_mlp_project")(y)
            x = added(x, y, drop, f"{block}_mlp")
        features.append(_norm(f"stage{stage}_norm")(x) if feature_norms else x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        load_from_torchvision(encoder, ADDRESSES[name], convert)
    return encoder


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a Swin Transformer, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout, of transformers, timm, torchvision or the authors.

    Returns:
        `{key: array}` for an encoder from `build`, with `feature_norms` only if the state has them.

    Example:
        >>> list(convert({"layers.0.blocks.1.attn.qkv.bias": np.ones(288)}))[:2]
        ['stage1_1_attention/query/bias', 'stage1_1_attention/key/bias']
    """
    rules = [*TRANSFORMERS, *TIMM, *TORCHVISION]
    inside = checkpoints.unwrapped(apart(state), rules)
    heads = ("norm", "head", "layernorm", "classifier")
    kept = {name: array for name, array in inside.items() if not any(checkpoints.within(name, each) for each in heads)}
    if any(checkpoints.within(name, "layers.0.downsample") for name in kept):  # the authors merge after a stage
        kept = {
            re.sub(r"^layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) + 1}.downsample", name): array
            for name, array in kept.items()
        }
    return checkpoints.rename(kept, rules)


def apart(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits the tensors of timm that hold query, key and value; those that follow from the windows are left out."""
    left_out = (".relative_position_index", ".attn_mask")
    return {name: array for name, array in attention_names.apart(state).items() if not name.endswith(left_out)}


def joined(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins query, key and value again: the opposite of `apart`."""
    return attention_names.joined(state)


def options(name: str) -> dict[str, Any]:
    """Returns the options of a variant and their values, the keys in `OPTIONS`."""
    filters, depths, heads = VARIANTS[name]
    defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
    return {**{key: defaults[key] for key in OPTIONS}, "filters": filters, "depths": depths, "heads": heads}


def shortest(given: Mapping[str, Any]) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Example:
        >>> shortest({"filters": 96, "depths": [2, 2, 18, 2], "window": 12})
        {'name': 'swin_small', 'window': 12}
    """
    return shortest_of(given, VARIANTS, options)


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=ATTENTION_EPSILON, name=name)
