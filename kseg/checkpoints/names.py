"""From the names and layouts of PyTorch's weights to those of kseg's weight files.

A table of rules maps the names of modules (`layer1.0.conv1`) to paths of layers (`layer1_0_conv1`). The name of the
layer implies its kind: it ends with `norm`, contains `depthwise`, or else is a convolution or a dense layer.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

Rules = Sequence[tuple[str, str]]
"""Pairs of a regular expression for the whole name of a module, and its replacement. The first match applies.

An expression may also match the whole name of a tensor, which keeps its layout; the replacement is its whole key then,
which has no dot. (A broad expression such as `block(.*)` thus still stands for modules.)
"""

_WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
COPY = 0.5
"""Share of a model's tensors from which a second set of them is a copy; an average has only those that are trained."""
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


def unwrapped(state: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """Removes the prefix that wrappers and surrounding dictionaries give to the names of a model's tensors.

    Examples are `module.` (DataParallel, AveragedModel), `model.`, `state_dict.model.` (Lightning) and `_orig_mod.`
    (compiled models). The prefix below which most tensors match a rule is chosen; tensors outside, such as those of the
    optimizer, are dropped. Without a prefix all tensors are kept.

    Args:
        state: `{name: array}`, all tensors of a file.
        rules: The rules for the names of the model's modules.

    Returns:
        `{name: array}`.

    Raises:
        ValueError: If the model occurs several times, e.g. with its moving average (EMA).

    Example:
        >>> state = {"epoch": np.zeros(()), "model.module.bn1.weight": np.ones(4)}
        >>> list(unwrapped(state, [("bn1", "norm1")]))
        ['bn1.weight']
    """
    state = {_WRAPPERS.sub("", name): array for name, array in state.items()}
    counts: dict[str, int] = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        parts = module.split(".")
        fits = (start for start in range(len(parts)) if _key(".".join(parts[start:]), leaf, array.ndim, rules))
        if (start := next(fits, None)) is not None:
            prefix = "".join(f"{part}." for part in parts[:start])
            counts[prefix] = counts.get(prefix, 0) + 1
    prefix = max(counts, key=lambda each: counts[each], default="")
    copies = [each for each in counts if counts[each] >= COPY * counts[prefix]]
    if len(copies) > 1:
        places = " and ".join(f"below {each[:-1]}" if each else "at the top level" for each in copies)
        raise ValueError(
            f"the checkpoint contains this model {len(copies)} times, {places}: choose one, "
            f"{' or '.join(_choice(each, copies) for each in copies)} "
            "in kseg.zoo.smp.load, kseg.zoo.torchvision.load or kseg.checkpoints.read"
        )
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def _choice(prefix: str, copies: Sequence[str]) -> str:
    """Returns the arguments of `read` that choose the copy of a model below a prefix, and none that it contains."""
    inner = [each.removeprefix(prefix)[:-1] for each in copies if each != prefix and each.startswith(prefix)]
    return ", ".join([f"part={prefix[:-1]!r}"] * bool(prefix) + [f"without={inner}"] * bool(inner))


def rename(state: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """Converts PyTorch's tensors to the arrays of a kseg weight file.

    Args:
        state: `{name: array}` in PyTorch's layout; a prefix that the names share is removed, see `unwrapped`.
        rules: The rules for the names of the modules.

    Returns:
        `{key: array}` in Keras's layout. Tensors that match no rule keep their names, so that strict loading reports
        them. `num_batches_tracked`, which Keras does not have, is dropped.

    Raises:
        ValueError: If the model occurs several times.

    Example:
        >>> rules = [("bn1", "norm1"), ("conv1", "conv1")]
        >>> found = rename({"bn1.weight": np.ones(4), "conv1.weight": np.ones((4, 3, 7, 7)), "a": np.ones(1)}, rules)
        >>> {key: array.shape for key, array in found.items()}
        {'norm1/gamma': (4,), 'conv1/kernel': (7, 7, 3, 4), 'a': (1,)}
    """
    arrays = {}
    for name, array in unwrapped(state, rules).items():
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        if key := _key(module, leaf, array.ndim, rules):
            array = np.ascontiguousarray(array.transpose(_axes(key, array.ndim)))
        arrays[key or name] = array
    return arrays


def revert(arrays: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    r"""Converts the arrays of a kseg weight file to PyTorch's tensors: the opposite of `rename`.

    Args:
        arrays: `{key: array}` in Keras's layout.
        rules: The rules with which `rename` reads the tensors. Patterns consist of literal text and of groups that the
            replacement contains. Where several rules give the same path, the first one names the tensor.

    Returns:
        `{name: array}` in PyTorch's layout, with a `num_batches_tracked` of 0 for each batch normalization.

    Raises:
        ValueError: If no rule gives the path of an array.

    Example:
        >>> rules = [(r"layer(\d)\.conv", r"layer\1_conv")]
        >>> {name: array.shape for name, array in revert({"layer2_conv/kernel": np.ones((7, 5, 3, 4))}, rules).items()}
        {'layer2.conv.weight': (4, 3, 7, 5)}
    """
    leaves = {"kernel": "weight", "bias": "bias", **{ours: theirs for theirs, ours in _NORM.items()}}
    opposite = [_opposite(*rule) for rule in rules]
    state = {}
    for key, array in arrays.items():
        path, _, leaf = key.rpartition("/")
        if tensor := _renamed(key, opposite):
            state[tensor] = np.ascontiguousarray(array)
            continue
        if (module := _renamed(path, opposite)) is None or leaf not in leaves:
            raise ValueError(f"{key} has no counterpart in PyTorch")
        state[f"{module}.{leaves[leaf]}"] = np.ascontiguousarray(array.transpose(np.argsort(_axes(key, array.ndim))))
        if leaf == "moving_variance":
            state[f"{module}.num_batches_tracked"] = np.zeros((), "int64")
    return state


def _opposite(pattern: str, replacement: str) -> tuple[str, str]:
    """The rule that leads back."""
    literals = re.split(r"\([^()]*\)", pattern)
    groups = re.findall(r"\(([^()]*)\)", pattern)
    name = "".join(
        re.sub(r"\\(.)", r"\1", literal) + (rf"\g<g{index}>" if index <= len(groups) else "")
        for index, literal in enumerate(literals, start=1)
    )
    parts = re.split(r"\\(\d)", replacement)
    path = "".join(
        rf"(?P<g{part}>{groups[int(part) - 1]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    return path, name


def _key(module: str, leaf: str, ndim: int, rules: Rules) -> str | None:
    """Returns the key of a tensor with `ndim` axes in a weight file, or None if no rule matches."""
    if (key := _renamed(f"{module}.{leaf}" if module else leaf, rules)) and "." not in key:
        return key
    if (path := _renamed(module, rules)) is None:
        return None
    if path.rpartition("/")[2].rpartition("_")[2].startswith("norm"):
        return f"{path}/{_NORM[leaf]}" if leaf in _NORM and ndim == 1 else None
    if leaf == "bias" and ndim == 1:
        return f"{path}/bias"
    return f"{path}/kernel" if leaf == "weight" and ndim in (2, 4) else None


def _renamed(name: str, rules: Rules) -> str | None:
    found = (match.expand(replacement) for pattern, replacement in rules if (match := re.fullmatch(pattern, name)))
    return next(found, None)


def _axes(key: str, ndim: int) -> tuple[int, ...]:
    """Returns the order of PyTorch's axes (output, input, height, width) in Keras's layout."""
    if not key.endswith("/kernel"):
        return tuple(range(ndim))
    if ndim < 4:
        return tuple(range(ndim))[::-1]
    return (2, 3, 0, 1) if "depthwise" in key.split("/")[-2].split("_") else (2, 3, 1, 0)  # a depthwise input has one
