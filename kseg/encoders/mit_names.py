"""The names of a Mix Transformer's tensors in transformers, in the authors' code and in segmentation-models-pytorch."""

import re
from collections.abc import Mapping

import numpy as np

from kseg import checkpoints
from kseg.encoders import attention_names

_BLOCK = (
    ("layer_norm_1", "layernorm_before", "norm1"),
    ("attention.self.query", "attention.q_proj", "attention/query"),
    ("attention.self.key", "attention.k_proj", "attention/key"),
    ("attention.self.value", "attention.v_proj", "attention/value"),
    ("attention.self.sr", "attention.sequence_reduction.sequence_reduction", "attention/reduction"),
    ("attention.self.layer_norm", "attention.sequence_reduction.layer_norm", "attention/reduction_norm"),
    ("attention.output.dense", "attention.o_proj", "attention/out"),
    ("layer_norm_2", "layernorm_after", "norm2"),
    ("mlp.dense1", "mlp.fc1", "expand"),
    ("mlp.dwconv.dwconv", "mlp.dwconv.dwconv", "depthwise_conv"),
    ("mlp.dense2", "mlp.fc2", "project"),
)
"""The modules of a block in folders of transformers and in its networks since version 5, and the layers here."""


def _rules(version: int, patch: str, block: str, norm: str) -> checkpoints.Rules:
    rules: list[tuple[str, str]] = []
    for stage in range(4):
        ours = f"stage{stage + 1}"
        theirs = [re.escape(place.format(stage)) for place in (patch, block, norm)]
        rules += [(rf"{theirs[0]}\.proj", f"{ours}_patch_conv"), (rf"{theirs[0]}\.layer_norm", f"{ours}_patch_norm")]
        rules += [(rf"{theirs[1]}\.(\d+)\.{re.escape(each[version])}", rf"{ours}_\1_{each[2]}") for each in _BLOCK]
        rules.append((theirs[2], f"{ours}_norm"))
    return rules


TRANSFORMERS: checkpoints.Rules = [
    *_rules(0, "encoder.patch_embeddings.{}", "encoder.block.{}", "encoder.layer_norm.{}"),
    *_rules(1, "stages.{}.patch_embeddings", "stages.{}.blocks", "stages.{}.layer_norm"),
]
"""From the modules of transformers to the layers of this network; folders are written with the first names."""

ORIGINAL: checkpoints.Rules = (
    (r"patch_embed(\d)\.proj", r"stage\1_patch_conv"),
    (r"patch_embed(\d)\.norm", r"stage\1_patch_norm"),
    (r"block(\d)\.(\d+)\.norm(\d)", r"stage\1_\2_norm\3"),
    (r"block(\d)\.(\d+)\.attn\.q", r"stage\1_\2_attention/query"),
    (r"block(\d)\.(\d+)\.attn\.k", r"stage\1_\2_attention/key"),
    (r"block(\d)\.(\d+)\.attn\.v", r"stage\1_\2_attention/value"),
    (r"block(\d)\.(\d+)\.attn\.sr", r"stage\1_\2_attention/reduction"),
    (r"block(\d)\.(\d+)\.attn\.norm", r"stage\1_\2_attention/reduction_norm"),
    (r"block(\d)\.(\d+)\.attn\.proj", r"stage\1_\2_attention/out"),
    (r"block(\d)\.(\d+)\.mlp\.fc1", r"stage\1_\2_expand"),
    (r"block(\d)\.(\d+)\.mlp\.dwconv\.dwconv", r"stage\1_\2_depthwise_conv"),
    (r"block(\d)\.(\d+)\.mlp\.fc2", r"stage\1_\2_project"),
    (r"norm(\d)", r"stage\1_norm"),
)
"""From the modules of the authors' code and of segmentation-models-pytorch, with key and value apart."""


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a Mix Transformer, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout, with the names of transformers (`encoder.block.0.0...`) or of the
            authors (`block1.0...`), which segmentation-models-pytorch uses too.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"block1.0.attn.kv.bias": np.ones(64)}))
        ['stage1_0_attention/key/bias', 'stage1_0_attention/value/bias']
    """
    if any(re.search(r"(?<![^.])(encoder\.(block|layer_norm|patch_embeddings)|stages\.\d)\.", name) for name in state):
        kept = {name: array for name, array in state.items() if not checkpoints.within(name, "classifier")}
        return checkpoints.rename(kept, TRANSFORMERS)
    kept = {name: array for name, array in state.items() if not checkpoints.within(name, "head")}
    return checkpoints.rename(apart(kept), ORIGINAL)


def apart(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits the tensors of the authors' code that hold key and value."""
    return attention_names.apart(state, "kv", ("k", "v"))


def joined(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins key and value again: the opposite of `apart`."""
    return attention_names.joined(state, "kv", ("k", "v"))
