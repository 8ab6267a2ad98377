"""Names of splits, such as train and valid, in paths: `{split}` stands for them in the patterns of a recipe."""

import collections
import re
from collections.abc import Collection, Sequence

from kseg.data.finding.layout import ALIASES

SPLIT = re.compile("training|train|validation|valid|val|testing|test", re.IGNORECASE)


def template(parts: Sequence[str], names: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Returns the parts of a path with `{split}` for the name of a split, and that name, one of `names`."""
    for name in dict.fromkeys(name for part in parts for name in _names_in(part) if name in names):
        return tuple(part.replace(name, "{split}") for part in parts), name
    return tuple(parts), ""


def names_of_splits(paths: Collection[tuple[str, ...]]) -> set[str]:
    """Returns the names of splits: those that are a whole part of a path, or have another one in the same place."""
    found: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for parts in paths:
        for name in {name for part in parts for name in _names_in(part)}:
            found[template(parts, {name})[0]].add(name)
    paired = [names for names in found.values() if len({_canonical(name) for name in names}) > 1]
    return {name for parts in paths for name in parts if SPLIT.fullmatch(name)}.union(*paired)


def _names_in(part: str) -> list[str]:
    """Returns the names of splits in a part of a path that are no middle of a word, as in "evaluation"."""
    hits = SPLIT.finditer(part)
    return [hit[0] for hit in hits if not (part[: hit.start()][-1:].isalpha() and part[hit.end() :][:1].isalpha())]


def _canonical(name: str) -> str:
    return next(split for split, names in ALIASES.items() if name.lower() in names)
