"""Names that Keras gives to layers without one: `conv2d`, `conv2d_1`, ..., counted from the start of the process.

The same code builds the same layers in the same order, but their numbers depend on what was built before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def automatic_keys(model: keras.Model, keys: Iterable[str]) -> list[str]:
    """Returns those of a model's keys, in the same order, that contain an automatic name."""
    return _chosen(_pattern(model), keys)


def aligned(model: keras.Model, wanted: Sequence[str], given: Sequence[str], order: Sequence[str]) -> dict[str, str]:
    """Finds the tensors of a model in a file that was written with other numbers of unnamed layers.

    Tensors of unnamed layers are matched by their place in the order of the model that was saved. Names inside a
    wrapper, as in `Bidirectional`, must be equal.

    Args:
        model: The model.
        wanted: Keys of its tensors, in its order; their parts between slashes are names of layers.
        given: Keys of the tensors in the file.
        order: Keys of the file with automatic names, in the order of the model that was saved; empty if unknown.

    Returns:
        Key in the model -> key in the file. Tensors of the file that the model lacks keep their keys. If the order does
        not say which unnamed layers are the same, those with the same key are left out, so that none is guessed.
    """
    automatic = _pattern(model)
    numbered = {match[1] for match in _matches(automatic, [*wanted, *given]) if match[2]}
    if automatic is None or not numbered:
        return {key: key for key in given}
    automatic = _names(numbered)  # others, as `aspp`, may be names that someone has given
    ours, theirs = _chosen(automatic, wanted), _chosen(automatic, order or given)
    found = {key: key for key in given if key not in {*ours, *theirs}}
    if set(ours) == set(theirs):
        return found | {key: key for key in theirs}
    alike = len(ours) == len(theirs) and all(_alike(*pair, automatic) for pair in zip(ours, theirs, strict=True))
    if order and alike and set(theirs) <= set(given):
        return found | dict(zip(ours, theirs, strict=True))
    return found | {key: key for key in theirs if key not in ours}


def _pattern(model: keras.Model) -> re.Pattern[str] | None:
    """Returns what the automatic names of the classes of a model's unnamed layers look like; None if all have names."""
    bases = {base for layer in model._flatten_layers() if (base := _base(layer))}
    return _names(bases) if bases else None


def _names(bases: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"({'|'.join(sorted(map(re.escape, bases)))})(_\d+)?")


def _matches(automatic: re.Pattern[str] | None, keys: Iterable[str]) -> Iterator[re.Match[str]]:
    """Yields the automatic names in keys."""
    for part in (part for key in keys for part in key.split("/")):
        if automatic is not None and (match := automatic.fullmatch(part)):
            yield match


def _chosen(automatic: re.Pattern[str] | None, keys: Iterable[str]) -> list[str]:
    """Returns the keys that contain an automatic name."""
    return [key for key in keys if any(_matches(automatic, [key]))]


def _base(layer: keras.layers.Layer) -> str | None:
    """Returns the automatic name of a layer's class, without a number, if the layer has such a name.

    Keras makes it of the name of the class, in lower case with underscores.
    """
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)).lower()
    return name if re.fullmatch(rf"{re.escape(name)}(_\d+)?", layer.name) else None


def _alike(one: str, two: str, automatic: re.Pattern[str]) -> bool:
    """Returns whether two keys differ by the numbers of automatic names only."""
    parts = one.split("/"), two.split("/")
    if len(parts[0]) != len(parts[1]):
        return False
    matches = ((a, b, automatic.fullmatch(a), automatic.fullmatch(b)) for a, b in zip(*parts, strict=True))
    return all(a == b or (x is not None and y is not None and x[1] == y[1]) for a, b, x, y in matches)
