"""The names of a Vision Transformer's tensors in transformers, timm, torchvision and the code of DINOv2's authors."""

import math
import re
from collections.abc import Mapping

import numpy as np

from kseg import checkpoints
from kseg.encoders import attention_names


def _rules(block: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rules for the modules of a block, and for its two tensors with the factors of layer scale."""
    return [(rf"{block}\.(\d+)\.{theirs}", rf"block\1_{ours}") for ours, theirs in names.items()]


_LATEST = {
    "norm1": "layernorm_before",
    "attention/query": r"attention\.q_proj",
    "attention/key": r"attention\.k_proj",
    "attention/value": r"attention\.v_proj",
    "attention/out": r"attention\.o_proj",
    "norm2": "layernorm_after",
    "mlp_expand": r"mlp\.fc1",
    "mlp_project": r"mlp\.fc2",
}
"""The modules of a block in networks of transformers since version 5."""

_TOKENS = {"class_token": "cls_token", "positions": "position_embeddings", "registers": "register_tokens"}
TRANSFORMERS: checkpoints.Rules = [
    (r"embeddings\.patch_embeddings\.projection", "patch_conv"),
    *((rf"embeddings\.{theirs}", f"tokens/{ours}") for ours, theirs in _TOKENS.items()),
    *_rules(
        r"encoder\.layer",
        {
            "norm1": "layernorm_before",
            "attention/query": r"attention\.attention\.query",
            "attention/key": r"attention\.attention\.key",
            "attention/value": r"attention\.attention\.value",
            "attention/out": r"attention\.output\.dense",
            "norm2": "layernorm_after",
            "mlp_expand": r"intermediate\.dense",
            "mlp_project": r"output\.dense",
        },
    ),
    *_rules(
        r"encoder\.layer",
        {
            "norm1": "norm1",
            "scale1/scale": r"layer_scale1\.lambda1",
            "norm2": "norm2",
            "scale2/scale": r"layer_scale2\.lambda1",
        },
    ),
    *(rule for block in (r"encoder\.layer", "layers") for rule in _rules(block, _LATEST)),
    ("layernorm", "norm"),
]
"""From the modules and tensors of transformers to those of this network; folders are written with the first names."""

_BLOCK = {
    "norm1": "norm1",
    "attention/query": r"attn\.query",
    "attention/key": r"attn\.key",
    "attention/value": r"attn\.value",
    "attention/out": r"attn\.proj",
    "scale1/scale": r"ls1\.gamma",
    "norm2": "norm2",
    "mlp_expand": r"mlp\.fc1",
    "mlp_project": r"mlp\.fc2",
    "scale2/scale": r"ls2\.gamma",
}
TIMM: checkpoints.Rules = [
    (r"patch_embed\.proj", "patch_conv"),
    ("cls_token", "tokens/class_token"),
    ("pos_embed", "tokens/positions"),
    ("reg_token", "tokens/registers"),
    *_rules("blocks", _BLOCK),
    ("norm", "norm"),
]
"""With query, key and value apart, and a position for the class token."""

TORCHVISION: checkpoints.Rules = [
    ("conv_proj", "patch_conv"),
    ("class_token", "tokens/class_token"),
    (r"encoder\.pos_embedding", "tokens/positions"),
    *_rules(
        r"encoder\.layers",
        {
            "norm1": "ln_1",
            "attention/query": r"attn\.query",
            "attention/key": r"attn\.key",
            "attention/value": r"attn\.value",
            "attention/out": r"self_attention\.out_proj",
            "norm2": "ln_2",
            "mlp_expand": r"mlp\.0",
            "mlp_project": r"mlp\.3",
        },
    ),
    *_rules(r"encoder\.layers", {"mlp_expand": r"mlp\.linear_1", "mlp_project": r"mlp\.linear_2"}),
    (r"encoder\.ln", "norm"),
]
"""With query, key and value apart, and the number of a block alone as its name."""


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a Vision Transformer or DINOv2, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout, of transformers, timm, torchvision or DINOv2's authors.

    Returns:
        `{key: array}` for an encoder from `build` with `feature_norms`; without them, leave out the keys that begin
        with `norm/`.

    Example:
        >>> list(convert({"blocks.1.attn.qkv.bias": np.ones(288)}))[:2]
        ['block1_attention/query/bias', 'block1_attention/key/bias']
    """
    rules = [*TRANSFORMERS, *TIMM, *TORCHVISION]
    inside = checkpoints.unwrapped(apart(state), rules)
    left_out = ("head", "heads", "fc_norm", "classifier", "pooler")
    arrays = checkpoints.rename(
        {name: array for name, array in inside.items() if not any(checkpoints.within(name, each) for each in left_out)},
        rules,
    )
    return with_class_position(arrays, "tokens/positions")


def apart(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits the tensors of timm, torchvision and the authors that hold query, key and value, and drops mask tokens."""
    named = {
        name.replace(".encoder_layer_", ".").replace("self_attention.in_proj_", "attn.qkv."): array
        for name, array in state.items()
        if not re.fullmatch(r"(.*\.)?mask_token", name)
    }
    return attention_names.apart(named)


def joined(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins query, key and value again, as in timm: the opposite of `apart`."""
    return attention_names.joined(state)


def with_class_position(arrays: Mapping[str, np.ndarray], key: str) -> dict[str, np.ndarray]:
    """Adds a position of zeros for the class token if there are positions for the patches only, as in timm's DINOv2."""
    arrays = dict(arrays)
    if key in arrays and math.isqrt(arrays[key].shape[1]) ** 2 == arrays[key].shape[1]:
        arrays[key] = np.pad(arrays[key], ((0, 0), (1, 0), (0, 0)))
    return arrays
