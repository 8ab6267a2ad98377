"""PyTorch's names and layouts of weights turned into those of kseg's weight files.

A table of rules maps names of modules (`layer1.0.conv1`) to paths of layers (`layer1_0_conv1`). What the module is
shows in the last word of its path: `norm`, `depthwise`, or else a convolution.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

Rules = Sequence[tuple[str, str]]
"""Regular expression of a module's whole name, and what replaces it. The first that fits counts."""

RESNET: Rules = (
    (r"conv1", "conv1"),
    (r"bn1", "norm1"),
    (r"layer(\d)\.(\d+)\.conv(\d)", r"layer\1_\2_conv\3"),
    (r"layer(\d)\.(\d+)\.bn(\d)", r"layer\1_\2_norm\3"),
    (r"layer(\d)\.(\d+)\.downsample\.0", r"layer\1_\2_shortcut_conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1_\2_shortcut_norm"),
)
"""torchvision's, timm's and segmentation-models-pytorch's ResNets."""

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def below(rules: Rules, module: str, path: str) -> Rules:
    r"""Puts rules below a module and a path.

    Args:
        rules: What to prefix.
        module: The prefix of the modules, with its dot.
        path: The prefix of the paths, with its slash.

    Returns:
        The new rules.

    Example:
        >>> below([("conv1", "conv1")], "backbone.", "encoder/")
        [('backbone\\.conv1', 'encoder/conv1')]
    """
    return [(re.escape(module) + pattern, path + replacement) for pattern, replacement in rules]


def within(name: str, module: str) -> bool:
    """Tells whether a tensor belongs to a module or to one inside it.

    Example:
        >>> within("fc.bias", "fc"), within("fc2.bias", "fc")
        (True, False)
    """
    return name.startswith(f"{module}.")


def rename(state: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """Turns PyTorch's tensors into the arrays of a kseg weight file.

    Args:
        state: `{name: array}` in PyTorch's layout.
        rules: Where each module belongs.

    Returns:
        `{key: array}` in Keras's layout. What no rule fits stays under its own name, so that strict loading lists it;
        `num_batches_tracked`, which Keras does not count, is dropped.

    Example:
        >>> found = rename({"bn1.weight": np.ones(4), "conv1.weight": np.ones((4, 3, 7, 7)), "a": np.ones(1)}, RESNET)
        >>> {key: array.shape for key, array in found.items()}
        {'norm1/gamma': (4,), 'conv1/kernel': (7, 7, 3, 4), 'a': (1,)}
    """
    arrays = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        key, array = _placed(module, leaf, array, rules) or (name, array)
        arrays[key] = array
    return arrays


def _placed(module: str, leaf: str, array: np.ndarray, rules: Rules) -> tuple[str, np.ndarray] | None:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, module):
            path = match.expand(replacement)
            break
    else:
        return None
    word = re.split(r"[/_]", path)[-1]
    if word.startswith("norm"):
        return (f"{path}/{_NORM[leaf]}", array) if leaf in _NORM and array.ndim == 1 else None
    if leaf == "bias" and array.ndim == 1:
        return f"{path}/bias", array
    if leaf == "weight" and array.ndim == 4:
        # PyTorch: output, input (a depthwise convolution has one), height, width.
        axes = (2, 3, 0, 1) if word == "depthwise" else (2, 3, 1, 0)
        return f"{path}/kernel", np.ascontiguousarray(array.transpose(axes))
    return None
