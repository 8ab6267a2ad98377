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
    defaults, then those with the shortest form of name. Everything but the name of a data set is returned unchanged.
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
    """Returns the description of weights, with empty values for None and `.weights.h5`; downloads nothing for a name.

    Raises:
        ValueError: If another file has no description.
    """
    if weights is None or os.fspath(weights).endswith(".weights.h5"):
        return {"builder": "", "arguments": {}, "classes": (), "palette": ()}
    if weights in RELEASES:
        release = RELEASES[str(weights)]
        return {name: getattr(release, name) for name in ("builder", "arguments", "classes", "palette")}
    return describe(source.locate(weights))


def another_builder(weights: object, theirs: str, mine: str) -> str:
    """Returns the error message for weights of another builder, or an empty text if they may fit."""
    if not theirs or not mine or theirs == mine:
        return ""
    return f"{weights} was written by {theirs}, not by {mine}: call {theirs}(weights=...), or kseg.zoo.load"


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], *, without: Iterable[str] = ()) -> list[str]:
    """Lists options with different values, except those in `without`; lists and tuples are equal, as in JSON.

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
