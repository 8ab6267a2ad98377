"""Which weights a user means, and in which options they differ from a model's."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from kseg.pretrained import source
from kseg.pretrained.file import describe
from kseg.pretrained.model import as_json
from kseg.pretrained.release import RELEASES, Release

Weights = TypeVar("Weights", bound=str | os.PathLike | None)


def meant(
    weights: Weights, builder: str, *, given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Weights | str:
    """Resolves the name of a data set to the name of the released weights that were trained on it.

    Among the weights of the builder, those are chosen whose options differ least from the given ones, then from the
    defaults, then those with the shortest form of name.

    Args:
        weights: A file, an address, a name, or None.
        builder: Name of the builder whose weights are wanted.
        given: Options that the user chose.
        defaults: All options of the builder and their defaults.

    Returns:
        A full name for the name of a data set; anything else unchanged.

    Raises:
        ValueError: If no weights have that name, if none of them belong to the builder, or if several fit equally.
    """
    if not isinstance(weights, str) or weights in RELEASES or not (releases := source.named(weights)):
        return weights
    if not builder:
        return source.release_of(weights).name  # which refuses the name of a data set
    defaults = dict(defaults or {})
    mine = [release for release in releases if release.builder == builder]
    if not mine:
        names = ", ".join(release.name for release in releases)
        raise ValueError(f"no weights of {builder!r} on {weights!r} are released: there are {names}")

    def distance(release: Release) -> tuple[int, int]:
        options = {**defaults, **release.arguments}
        both = given.keys() & options.keys()
        asked = differences({name: given[name] for name in both}, {name: options[name] for name in both})
        return len(asked), len(differences({**defaults, **given}, options))

    near = source.plainest([release for release in mine if distance(release) == min(map(distance, mine))])
    if len(near) > 1:
        names = ", ".join(release.name for release in near)
        raise ValueError(f"several weights of {builder!r} on {weights!r} are released: name one of {names}")
    return near[0].name


def described(weights: str | os.PathLike | None) -> dict[str, Any]:
    """Returns the description of weights; downloads nothing for a name.

    Args:
        weights: A file, an address, the full name of released weights, or None.

    Returns:
        At least the keys `builder`, `arguments`, `classes` and `palette`; with empty values for None and for Keras's
        `.weights.h5`, which do not describe themselves.

    Raises:
        ValueError: If no weights have that name, or if the file does not describe itself.
    """
    if weights is None or os.fspath(weights).endswith(".weights.h5"):
        return {"builder": "", "arguments": {}, "classes": (), "palette": ()}
    if weights in RELEASES:
        release = RELEASES[str(weights)]
        return {name: getattr(release, name) for name in ("builder", "arguments", "classes", "palette")}
    return describe(source.locate(weights))


def another_builder(weights: object, theirs: str, mine: str) -> str:
    """Returns the error message for weights of another builder, or an empty text if they may fit.

    Example:
        >>> another_builder("a.safetensors", "unet", "fcn8")
        'a.safetensors was written by unet, not by fcn8: call unet(weights=...), or kseg.zoo.load'
    """
    if not theirs or not mine or theirs == mine:
        return ""
    return f"{weights} was written by {theirs}, not by {mine}: call {theirs}(weights=...), or kseg.zoo.load"


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], *, without: Iterable[str] = ()) -> list[str]:
    """Lists options with different values; lists and tuples are equal, as in JSON.

    Args:
        mine: Options of the model.
        theirs: Options of the weights.
        without: Names of options that may differ.

    Returns:
        One text per option.

    Example:
        >>> differences({"rates": (6, 12), "output_stride": 16}, {"rates": [6, 12], "output_stride": 8})
        ['output_stride=8 (here 16)']
    """
    found = []
    for name in sorted((mine.keys() | theirs.keys()) - set(without)):
        here, there = as_json(mine.get(name)), as_json(theirs.get(name))
        if here != there:
            found.append(f"{name}={there!r} (here {here!r})")
    return found
