"""Counts, names and faults of files as parts of messages."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kseg.classes import printable


def counted(count: int, noun: str) -> str:
    """Returns `"1 image"` or `"2,000 images"`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def some(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names, printable, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def below(paths: Iterable[Path | str], *folders: Path) -> list[str]:
    """Returns paths below the first folder that contains them, the names of files elsewhere, and texts as they are."""
    return [
        path if isinstance(path, str) else
        next((path.relative_to(each).as_posix() for each in folders if path.is_relative_to(each)), path.name)
        for path in paths
    ]  # fmt: skip


def by_kind(faults: Iterable[tuple[str, str]]) -> list[str]:
    """Returns one line for each kind of fault, with the number of files and the first names.

    Faults that differ only in their numbers or in the name of the file are of one kind.

    Args:
        faults: The path of each file and what is wrong with it.

    Example:
        >>> by_kind([("x/a.png", "x/a.png: 1x2 pixels"), ("x/b.png", "x/b.png: 3x4 pixels"), ("x/c.png", "no image")])
        ['1x2 pixels (2 files: a.png, b.png)', 'x/c.png: no image']
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for file, text in faults:
        reason = text.removeprefix(f"{file}: ")
        kinds.setdefault(re.sub(r"\d+(\.\d+)?", "0", reason.replace(file, "")), []).append((file, reason))
    lines = []
    for (file, reason), *others in kinds.values():
        names = some([Path(each).name for each, _ in ((file, reason), *others)])
        lines.append(f"{reason} ({len(others) + 1} files: {names})" if others else f"{file}: {reason}")
    return lines
