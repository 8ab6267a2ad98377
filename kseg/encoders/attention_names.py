"""Tensors that hold several projections of attention, as in timm and the code of authors: split, and joined again."""

from collections.abc import Mapping, Sequence

import numpy as np

PARTS = ("query", "key", "value")


def apart(state: Mapping[str, np.ndarray], joint: str = "qkv", parts: Sequence[str] = PARTS) -> dict[str, np.ndarray]:
    """Splits the tensors of the modules `attn.{joint}` into those of `attn.{part}`; others stay as they are.

    Args:
        state: `{name: array}` in PyTorch's layout.
        joint: Name of the module with all parts.
        parts: Names of the modules of the parts, in their order in the tensors.

    Example:
        >>> list(apart({"blocks.1.attn.kv.bias": np.ones(6)}, "kv", ("k", "v")))
        ['blocks.1.attn.k.bias', 'blocks.1.attn.v.bias']
    """
    found: dict[str, np.ndarray] = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith(f".attn.{joint}"):
            place = module.removesuffix(joint)
            values = np.split(array, len(parts))
            found |= {f"{place}{part}.{leaf}": value for part, value in zip(parts, values, strict=True)}
        else:
            found[name] = array
    return found


def joined(state: Mapping[str, np.ndarray], joint: str = "qkv", parts: Sequence[str] = PARTS) -> dict[str, np.ndarray]:
    """Joins the tensors of the parts again: the opposite of `apart`."""
    first, *others = parts
    found: dict[str, np.ndarray] = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith(f".attn.{first}"):
            place = module.removesuffix(first)
            found[f"{place}{joint}.{leaf}"] = np.concatenate([state[f"{place}{part}.{leaf}"] for part in parts])
        elif not module.endswith(tuple(f".attn.{part}" for part in others)):
            found[name] = array
    return found
