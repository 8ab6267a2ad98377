"""Finds the files of a data set: folders, or patterns with `{split}`, `{stem}` and wildcards."""

import itertools
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

IGNORED = ("thumbs.db", "desktop.ini")
"""Files that systems leave behind, besides hidden ones: they are not worth a note."""
ALIASES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Names under which the folders and lists of a split are looked for."""

_TOKEN = re.compile(r"(?:\*\*)?\{(\w+)\}|\*\*/|\*\*|\*|\?")


@dataclass
class Files:
    """The files that a folder or a pattern stands for.

    Args:
        folder: The deepest folder that contains them all.
        by_key: The files by what their names share with those of their partners, such as the stem.
        duplicates: The keys of files whose key another file has.
        unread: Files that are left out, by reason.
        pattern: The pattern, with `{split}` for the name of a split.
        of_split: Whether that was in the pattern.
    """

    folder: Path
    by_key: dict[str, Path] = field(default_factory=dict)
    duplicates: dict[Path, str] = field(default_factory=dict)
    unread: dict[str, list[Path]] = field(default_factory=dict)
    pattern: str = ""
    of_split: bool = False


def normal(text: str) -> str:
    """Returns a name with composed letters: macOS decomposes them, and both forms look the same."""
    return unicodedata.normalize("NFC", text)


def aliases(split: str | None) -> tuple[str, ...]:
    """Returns the names under which a split may be found, its own first."""
    known: tuple[str, ...] = next((names for names in ALIASES.values() if split in names), ())
    return () if split is None else (split, *(name for name in known if name != split))


def root_of(place: str | os.PathLike[str]) -> Path:
    r"""Returns the folder of a data set; `\` stands between folders on any system, as in recipes from Windows."""
    path = Path(place).expanduser()
    return path if path.exists() or "\\" not in str(path) else Path(str(path).replace("\\", "/"))


def pattern_of(place: str, suffix: str, option: str) -> str:
    """Returns a folder or pattern as a pattern, with slashes and `{stem}`; `**{stem}` contains folders.

    Raises:
        ValueError: If the pattern has a `{stem}` and there is a suffix too, or if it names files without a `{stem}`.
    """
    place = normal(place).replace("\\", "/")
    folder, slash, name = place.rpartition("/")
    token = re.search(r"\*|\{(?!split)\w+\}", name)
    if "{stem}" not in place and re.search(r"\.\w+$", name) and token:
        cure = f"{folder}{slash}{name[: token.start()]}{{stem}}{name[token.end() :]}"
        raise ValueError(
            f'{option}="{place}" has no {{stem}}, the part of their names that images and masks share: give '
            f'{option}="{cure}"'
        )
    if "{stem}" not in place:
        place = place.rstrip("/") or "."
        return f"{place.removesuffix('/**')}/{'**' * place.endswith('/**')}{{stem}}{normal(suffix)}"
    if suffix:
        raise ValueError(
            f'{option}="{place}" has a {{stem}}: write {suffix!r} behind it, without {option[:-1]}_suffix='
        )
    return place


def is_folder(place: str) -> bool:
    """Returns whether a place is one folder instead of a pattern."""
    return not _TOKEN.search(place)


def find(root: Path, pattern: str, kinds: Collection[str]) -> Files:
    """Finds the files that a pattern matches.

    Args:
        root: The folder to which the pattern is relative.
        pattern: A path with `{stem}`, the part that an image and its mask share; `*` and `?` stand for letters, `**/`
            for folders at any depth, and any other `{name}` for a folder that both share. A folder in front of
            `{stem}` that holds no files itself is read with its subfolders.
        kinds: Endings that can be read, such as `".png"`; patterns need not have one.

    Returns:
        The files, sorted by name.

    Raises:
        FileNotFoundError: If the folder in front of the first placeholder does not exist.
    """
    head = fixed(pattern)
    folder = existing(root, head)
    rest = "/".join(PurePosixPath(pattern).parts[len(head) :])
    found = Files(folder, pattern=pattern)
    files = {path: normal(path.relative_to(folder).as_posix()) for path in walk(folder)}
    known = tuple(kinds)
    here = any("/" not in name and name.lower().endswith(known) for name in files.values())
    deep = "**{stem}" in rest or ("**" not in rest and ("/" in rest or not here))
    match = _regex(rest, known, deep=deep).fullmatch
    for path, name in files.items():
        if hit := match(name):
            groups = hit.groupdict()
            key = "/".join([*(groups[part] for part in sorted(groups) if part != "_stem"), groups["_stem"]])
            if found.by_key.setdefault(key, path) is not path:
                found.duplicates[path] = key
        elif not name.lower().endswith(known):
            found.unread.setdefault(
                f"ending in {path.suffix} in" if path.suffix else "without an ending in", []
            ).append(path)
        elif not deep and "/" in name:
            found.unread.setdefault("in subfolders of", []).append(path)
        else:
            shape = PurePosixPath(rest).name.replace("{stem}", "*")
            found.unread.setdefault(f"not named {shape} in", []).append(path)
    return found


def fixed(pattern: str) -> tuple[str, ...]:
    """Returns the folders of a pattern in front of its first placeholder."""
    return tuple(itertools.takewhile(lambda part: not _TOKEN.search(part), PurePosixPath(pattern).parts))


def existing(root: Path, parts: Iterable[str]) -> Path:
    """Returns a folder by its parts, found as by `child`.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    path = root
    for part in parts:
        path = child(path, part)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    return path


def child(folder: Path, name: str) -> Path:
    """Returns the path of a file or folder, whose letters may be decomposed, or capitals, on the disk."""
    path = folder / name
    if name == ".." or path.exists() or not folder.is_dir():
        return path
    here = {normal(each.name): each for each in sorted(folder.iterdir())}
    return here.get(name) or {key.casefold(): each for key, each in here.items()}.get(name.casefold(), path)


def walk(folder: Path) -> Iterator[Path]:
    """Yields all files below a folder, sorted, without hidden ones; a folder that links to one above it ends there."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            yield from (
                Path(place, name) for name in sorted(names) if not name.startswith(".") and name.lower() not in IGNORED
            )
        seen.add(real)


def _regex(pattern: str, kinds: tuple[str, ...], *, deep: bool) -> re.Pattern[str]:
    """Translates a pattern; `{stem}` contains folders if `deep`."""
    ending = next((kind for kind in kinds if pattern.lower().endswith(kind)), "")
    if ending:
        pattern = pattern[: -len(ending)]
    endings = "|".join(map(re.escape, [ending] if ending else kinds))
    groups: set[str] = set()
    text, end = "", 0
    for token in _TOKEN.finditer(pattern):
        text += re.escape(pattern[end : token.start()])
        end, name = token.end(), token[1] and f"_{token[1]}"  # the names of groups cannot begin with a digit
        if name in groups:
            text += f"(?P={name})"
        elif name:
            groups.add(name)
            text += f"(?P<{name}>.+)" if name == "_stem" and deep else f"(?P<{name}>[^/]+)"
        else:
            text += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[token[0]]
    anything = "" if pattern.endswith("*") and not ending else f"(?i:{endings})"
    return re.compile(f"{text}{re.escape(pattern[end:])}{anything}")
