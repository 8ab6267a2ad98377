"""The names of the tensors of MobileViT in PyTorch's libraries."""

from collections.abc import Callable, Mapping

import numpy as np

from kseg import checkpoints
from kseg.encoders import attention_names

REPEATS = (1, 3, 1, 1, 1)
"""Number of inverted residuals of each stage."""
BLOCKS = {3: 2, 4: 4, 5: 3}
"""Number of transformer blocks of the stages that have attention."""

_RESIDUAL = ("expand", "depthwise", "project")
_AROUND = ("local", "leave", "fuse")


def _rules(
    stem: str,
    residual: Callable[[int, int], str],
    attention: Callable[[int], str],
    kinds: tuple[str, str],
    convolutions: Mapping[str, str],
    dense: Mapping[str, str],
    blocks: str,
) -> checkpoints.Rules:
    """The rules from the modules of a library to the layers of the encoder.

    Args:
        stem: The first convolution with its normalization, without `kinds`.
        residual: Returns the module of an inverted residual, from the numbers of the stage and of the residual.
        attention: Returns the module of a block with attention, from the number of the stage.
        kinds: Names of a convolution and of its normalization in their module.
        convolutions: Modules of `_RESIDUAL` and `_AROUND`.
        dense: Modules of the other parts of a block with attention; `enter_conv` and `blocks_norm` belong to
            the stage, all others to each transformer block.
        blocks: Module of the transformer blocks.
    """
    pairs = [(stem, "stem")]
    for stage, repeats in enumerate(REPEATS, start=1):
        for repeat in range(repeats):
            place = residual(stage, repeat)
            pairs += [(f"{place}.{convolutions[part]}", f"stage{stage}_{repeat}_{part}") for part in _RESIDUAL]
        if stage in BLOCKS:
            pairs += [(f"{attention(stage)}.{convolutions[part]}", f"stage{stage}_{part}") for part in _AROUND]
    rules = [
        (f"{module}.{theirs}", f"{path}_{ours}")
        for module, path in pairs
        for theirs, ours in zip(kinds, ("conv", "norm"), strict=True)
    ]
    for stage in BLOCKS:
        place = attention(stage)
        for ours, theirs in dense.items():
            if ours in ("enter_conv", "blocks_norm"):
                rules.append((f"{place}.{theirs}", f"stage{stage}_{ours}"))
            else:
                rules.append((rf"{place}.{blocks}.(\d).{theirs}", rf"stage{stage}_block\1_{ours}"))
    return [(module.replace(".", r"\."), path) for module, path in rules]


TRANSFORMERS: checkpoints.Rules = _rules(
    "conv_stem",
    lambda stage, repeat: f"encoder.layer.{stage - 1}.{f'layer.{repeat}' if stage < 3 else 'downsampling_layer'}",
    lambda stage: f"encoder.layer.{stage - 1}",
    ("convolution", "normalization"),
    {
        "expand": "expand_1x1",
        "depthwise": "conv_3x3",
        "project": "reduce_1x1",
        "local": "conv_kxk",
        "leave": "conv_projection",
        "fuse": "fusion",
    },
    {
        "enter_conv": "conv_1x1.convolution",
        "blocks_norm": "layernorm",
        "norm1": "layernorm_before",
        "attention/query": "attention.attention.query",
        "attention/key": "attention.attention.key",
        "attention/value": "attention.attention.value",
        "attention/out": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp_expand": "intermediate.dense",
        "mlp_project": "output.dense",
    },
    "transformer.layer",
)
"""From the modules of transformers to the layers of the encoder."""

TIMM: checkpoints.Rules = _rules(
    "stem",
    lambda stage, repeat: f"stages.{stage - 1}.{repeat}",
    lambda stage: f"stages.{stage - 1}.1",
    ("conv", "bn"),
    {
        "expand": "conv1_1x1",
        "depthwise": "conv2_kxk",
        "project": "conv3_1x1",
        "local": "conv_kxk",
        "leave": "conv_proj",
        "fuse": "conv_fusion",
    },
    {
        "enter_conv": "conv_1x1",
        "blocks_norm": "norm",
        "norm1": "norm1",
        "attention/query": "attn.query",
        "attention/key": "attn.key",
        "attention/value": "attn.value",
        "attention/out": "attn.proj",
        "norm2": "norm2",
        "mlp_expand": "mlp.fc1",
        "mlp_project": "mlp.fc2",
    },
    "transformer",
)
"""From the modules of timm to the layers of the encoder, with query, key and value apart."""


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a MobileViT, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout, of timm or of transformers' `MobileViTModel`.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"stages.2.1.transformer.0.attn.qkv.bias": np.ones(288), "head.fc.bias": np.ones(9)}))[1:]
        ['stage3_block0_attention/key/bias', 'stage3_block0_attention/value/bias']
    """
    rules = [*TIMM, *TRANSFORMERS]
    heads = ("head", "final_conv", "conv_1x1_exp", "classifier")
    inside = checkpoints.unwrapped(attention_names.apart(state), rules)
    kept = {name: array for name, array in inside.items() if not any(checkpoints.within(name, each) for each in heads)}
    return checkpoints.rename(kept, rules)
