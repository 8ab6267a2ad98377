"""From the names and layouts of PyTorch's weights to those of kseg's weight files.

A table of rules maps the names of modules (`layer1.0.conv1`) to paths of layers (`layer1_0_conv1`). The name of the
layer implies its kind: it ends with `norm`, contains `depthwise`, or else is a convolution or a dense layer.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

Rules = Sequence[tuple[str, str]]
"""Pairs of a regular expression for the whole name of a module, and its replacement. The first match applies."""

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def below(rules: Rules, module: str, path: str) -> Rules:
    r"""Adds a prefix to the modules of rules, with its dot, and one to their paths, with its slash.

    Example:
        >>> below([("conv1", "conv1")], "backbone.", "encoder/")
        [('backbone\\.conv1', 'encoder/conv1')]
    """
    return [(re.escape(module) + pattern, path + replacement) for pattern, replacement in rules]


def within(name: str, module: str) -> bool:
    """Returns whether a tensor belongs to a module or to one of its submodules.

    Example:
        >>> within("fc.bias", "fc"), within("fc2.bias", "fc")
        (True, False)
    """
    return name.startswith(f"{module}.")


def rename(state: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """Converts PyTorch's tensors to the arrays of a kseg weight file.

    Args:
        state: `{name: array}` in PyTorch's layout.
        rules: The rules for the names of the modules.

    Returns:
        `{key: array}` in Keras's layout. Tensors that match no rule keep their names, so that strict loading reports
        them. `num_batches_tracked`, which Keras does not have, is dropped.

    Example:
        >>> rules = [("bn1", "norm1"), ("conv1", "conv1")]
        >>> found = rename({"bn1.weight": np.ones(4), "conv1.weight": np.ones((4, 3, 7, 7)), "a": np.ones(1)}, rules)
        >>> {key: array.shape for key, array in found.items()}
        {'norm1/gamma': (4,), 'conv1/kernel': (7, 7, 3, 4), 'a': (1,)}
    """
    arrays = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        key, array = _converted(module, leaf, array, rules) or (name, array)
        arrays[key] = array
    return arrays


def _converted(module: str, leaf: str, array: np.ndarray, rules: Rules) -> tuple[str, np.ndarray] | None:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, module):
            path = match.expand(replacement)
            break
    else:
        return None
    words = path.rpartition("/")[2].split("_")
    if words[-1].startswith("norm"):
        return (f"{path}/{_NORM[leaf]}", array) if leaf in _NORM and array.ndim == 1 else None
    if leaf == "bias" and array.ndim == 1:
        return f"{path}/bias", array
    if leaf == "weight" and array.ndim in (2, 4):
        # PyTorch: output, input (a depthwise convolution has one), height, width.
        axes = (1, 0) if array.ndim == 2 else (2, 3, 0, 1) if "depthwise" in words else (2, 3, 1, 0)
        return f"{path}/kernel", np.ascontiguousarray(array.transpose(axes))
    return None
