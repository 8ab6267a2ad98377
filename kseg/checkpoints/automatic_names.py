"""Names that Keras gives to layers without one: `conv2d`, `conv2d_1`, ..., counted from the start of the process."""

from __future__ import annotations

import collections
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def aligned(model: keras.Model, wanted: Collection[str], given: Collection[str]) -> dict[str, str]:
    """Finds the tensors of a model in a file that was written with other numbers of unnamed layers.

    The same code builds unnamed layers in the same order, so that their numbers differ, but not the order of these.

    Args:
        model: The model.
        wanted: Keys of its tensors; their parts between slashes are names of layers.
        given: Keys of the tensors in the file.

    Returns:
        Key in the model -> key in the file, for all keys of the file. Without automatic names, or if the rest of the
        names differs, both are equal.
    """
    bases = {base for layer in model._flatten_layers() if (base := _base(layer))}
    if not bases or set(wanted) == set(given):
        return {key: key for key in given}
    ours, theirs = _by_rank(wanted, bases), _by_rank(given, bases)
    if ours.keys() != theirs.keys() or len(ours) != len(wanted) or len(theirs) != len(given):
        return {key: key for key in given}
    return {ours[name]: theirs[name] for name in ours}


def _base(layer: keras.layers.Layer) -> str | None:
    """Returns the automatic name of the first layer of a class if a layer has an automatic name."""
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)).lower()
    return name if re.fullmatch(rf"{re.escape(name)}(_\d+)?", layer.name) else None


def _by_rank(keys: Collection[str], bases: Collection[str]) -> dict[str, str]:
    """Maps keys in which automatic names are numbered 0, 1, 2, ... to the keys themselves."""
    automatic = re.compile(rf"({'|'.join(map(re.escape, bases))})(?:_(\d+))?")
    numbers: dict[tuple[str, str], set[int]] = collections.defaultdict(set)

    def parts(key: str) -> list[tuple[str, str, int | None]]:
        found, place = [], ""
        for part in key.split("/"):
            match = automatic.fullmatch(part)
            found.append((place, match[1] if match else part, int(match[2] or 0) if match else None))
            place += f"{part}/"
        return found

    split = {key: parts(key) for key in keys}
    for found in split.values():
        for place, base, number in found:
            if number is not None:
                numbers[place, base].add(number)
    ranks = {group: {number: rank for rank, number in enumerate(sorted(each))} for group, each in numbers.items()}
    return {
        "/".join(
            base if number is None else f"{base}#{ranks[place, base][number]}" for place, base, number in found
        ): key
        for key, found in split.items()
    }
