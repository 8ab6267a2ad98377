"""Names and forms of the tensors of EoMT in transformers."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg import checkpoints

_BLOCK = {
    "norm1": "norm1",
    "attention/query": "attention.q_proj",
    "attention/key": "attention.k_proj",
    "attention/value": "attention.v_proj",
    "attention/out": "attention.out_proj",
    "scale1/scale": "layer_scale1.lambda1",
    "norm2": "norm2",
    "mlp_expand": "mlp.fc1",
    "mlp_project": "mlp.fc2",
    "scale2/scale": "layer_scale2.lambda1",
}
_UPSCALE = {"conv": "conv1", "depthwise": "conv2", "norm": "layernorm2d"}
_CLASS, _REGISTERS, _POSITIONS = (
    f"embeddings.{name}" for name in ("cls_token", "register_tokens", "position_embeddings.weight")
)
_MASKED, _WEIGHTS = "attn_mask_probs", "criterion.empty_weight"
UNUSED = re.escape(_WEIGHTS)

RULES: checkpoints.Rules = [
    (r"embeddings\.patch_embeddings\.projection", "encoder/patch_conv"),
    (re.escape(_CLASS), "encoder/tokens/class_token"),
    (re.escape(_REGISTERS), "encoder/tokens/registers"),
    (re.escape(_POSITIONS), "encoder/tokens/positions"),
    (r"query\.weight", "encoder/queries/queries"),
    *((rf"layers\.(\d+)\.{re.escape(theirs)}", rf"encoder/block\1_{ours}") for ours, theirs in _BLOCK.items()),
    ("layernorm", "encoder/norm"),
    *(
        (rf"upscale_block\.block\.{index}\.{theirs}", f"upscale_{index + 1}_{ours}")
        for index in range(9)
        for ours, theirs in _UPSCALE.items()
    ),
    *((rf"mask_head\.fc{index}", f"mask_{index}") for index in (1, 2, 3)),
    ("class_predictor", "classes"),
]


def loaded(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of the model for the renamed tensors: only the patches have positions there.

    Raises:
        ValueError: If queries attend to the patches in their masks only, as during training.
    """
    if np.any(found.pop(_MASKED, 0)):
        raise ValueError(f"kseg cannot build {_MASKED} other than 0: the training of this checkpoint was not finished")
    key = "encoder/tokens/positions"
    if key in found and found[key].ndim == 2:
        found[key] = np.pad(found[key], ((1, 0), (0, 0)))[None]
    if found.get("encoder/tokens/registers", np.ones(1)).size == 0:
        del found["encoder/tokens/registers"]
    return found


def stored(found: dict[str, np.ndarray], fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the tensors there for the renamed arrays of the model: the opposite of `loaded`.

    Args:
        found: The renamed arrays.
        fields: The fields of `config.json`.
    """
    width, depth = fields["hidden_size"], fields["num_hidden_layers"]
    scales = [f"layers.{index}.layer_scale{part}.lambda1" for index in range(depth) for part in (1, 2)]
    rest: dict[str, np.ndarray] = {name: np.ones(width, "float32") for name in scales}
    rest |= {_REGISTERS: np.zeros((1, 0, width), "float32"), _MASKED: np.zeros(fields["num_blocks"], "float32")}
    count = found["class_predictor.bias"].size
    rest[_WEIGHTS] = np.append(np.ones(count - 1, "float32"), np.float32(fields["no_object_weight"]))
    first, positions = found[_POSITIONS][:, :1], found[_POSITIONS][0, 1:]
    return {**rest, **found, _CLASS: found[_CLASS] + first, _POSITIONS: np.ascontiguousarray(positions)}
