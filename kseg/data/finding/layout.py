"""Finds the files of a data set: folders, or patterns with `{split}`, `{stem}` and wildcards."""

import bisect
import itertools
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
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
        duplicates: Files whose key another file has.
        unread: Files that are left out, by reason.
        of_split: Whether the name of a split was in the pattern.
    """

    folder: Path
    by_key: dict[str, Path] = field(default_factory=dict)
    duplicates: list[Path] = field(default_factory=list)
    unread: dict[str, list[Path]] = field(default_factory=dict)
    of_split: bool = False


def normal(text: str) -> str:
    """Returns a name with composed letters: macOS decomposes them, and both forms look the same."""
    return unicodedata.normalize("NFC", text)


def aliases(split: str | None) -> tuple[str, ...]:
    """Returns the names under which a split may be found, its own first."""
    return () if split is None else ALIASES.get(split, (split,))


def pattern_of(place: str, suffix: str, option: str) -> str:
    """Returns a folder or pattern as a pattern, with slashes and `{stem}`; `**{stem}` contains folders.

    Raises:
        ValueError: If the pattern has a `{stem}` and there is a suffix too.
    """
    place = normal(place).replace("\\", "/")
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
    parts = PurePosixPath(pattern).parts
    fixed = _fixed(parts)
    folder = existing(root, parts[:fixed])
    rest = "/".join(parts[fixed:])
    found = Files(folder)
    files = {path: normal(path.relative_to(folder).as_posix()) for path in walk(folder)}
    known = tuple(kinds)
    here = any("/" not in name and name.lower().endswith(known) for name in files.values())
    deep = "**{stem}" in rest or ("**" not in rest and (fixed < len(parts) - 1 or not here))
    match = _regex(rest, known, deep=deep).fullmatch
    for path, name in files.items():
        if hit := match(name):
            groups = hit.groupdict()
            key = "/".join([*(groups[part] for part in sorted(groups) if part != "stem"), groups["stem"]])
            if found.by_key.setdefault(key, path) is not path:
                found.duplicates.append(path)
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


def folder_of(root: Path, pattern: str) -> Path:
    """Returns the deepest folder that a pattern fixes."""
    parts = PurePosixPath(pattern).parts
    return root.joinpath(*parts[: _fixed(parts)])


def _fixed(parts: Sequence[str]) -> int:
    return next(index for index, part in enumerate(parts) if _TOKEN.search(part))


def existing(root: Path, parts: Iterable[str]) -> Path:
    """Returns a folder by its parts, whose letters may be composed or decomposed on the disk."""
    path = root
    for part in parts:
        if part != ".." and not (path / part).exists() and path.is_dir():
            path = next((each for each in path.iterdir() if normal(each.name) == part), path / part)
        else:
            path /= part
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    return path


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
        end, name = token.end(), token[1]
        if name in groups:
            text += f"(?P={name})"
        elif name:
            groups.add(name)
            text += f"(?P<{name}>.+)" if name == "stem" and deep else f"(?P<{name}>[^/]+)"
        else:
            text += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[token[0]]
    anything = "" if pattern.endswith("*") and not ending else f"(?i:{endings})"
    return re.compile(f"{text}{re.escape(pattern[end:])}{anything}")


def separate(images: Files, masks: Files) -> None:
    """Leaves each file that both patterns match to the one that fixes more of its name.

    Raises:
        ValueError: If some file matches both alike.
    """
    mask_keys = {path: key for key, path in masks.by_key.items()}
    for key, path in list(images.by_key.items()):
        if path not in mask_keys:
            continue
        if len(key) == len(mask_keys[path]):
            raise ValueError(f"images and masks are the same files, such as {path}: give masks= or mask_suffix=")
        other, place = (images, key) if len(key) > len(mask_keys[path]) else (masks, mask_keys[path])
        del other.by_key[place]


def unread(images: Files, masks: Files | None) -> list[str]:
    """Returns one line for each kind of files that are read neither as images nor as masks."""
    places = {"images": images} | ({} if masks is None else {"masks": masks})
    used = {path for files in places.values() for path in [*files.by_key.values(), *files.duplicates]}
    lines: dict[str, None] = {}
    for option, files in places.items():
        for reason, paths in files.unread.items():
            left = [path for path in paths if path not in used]
            if left:
                names = some([path.name for path in left])
                text = f"{counted(len(left), 'file')} {reason} {files.folder} {is_or_are(len(left))} not read: {names}"
                cure = f'; give {option}="{files.folder.name}/**" to read them' if "subfolders" in reason else ""
                lines[text + cure] = None
    return list(lines)


def counted(count: int, noun: str) -> str:
    """Returns `"1 image"` or `"2 images"`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def is_or_are(count: int) -> str:
    """Returns the verb for a number of things."""
    return "is" if count == 1 else "are"


def some(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names and how many more there are; names that are not UTF-8 are made printable."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name.encode("utf-8", "replace").decode() for name in names[:most]) + more


def suffixes(images: Collection[str], masks: Collection[str]) -> tuple[str, str] | None:
    """Returns the endings of names that pair most images with masks, or None if they pair fewer than half.

    Example:
        >>> suffixes(["a", "b"], ["a_mask", "b_mask"])
        ('', '_mask')
    """
    known, ordered, best = set(masks), sorted(masks), (0, ("", ""))
    for image in sorted(images)[:10]:
        place = bisect.bisect(ordered, image)
        for mask in ordered[max(0, place - 1) : place + 3]:  # one of them shares most letters with the image
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(image, mask, strict=False))
            stem = "".join(letter for letter, _ in same)
            stem = stem.rstrip("_-. ") if stem not in (image, mask) else stem
            ends = image[len(stem) :], mask[len(stem) :]
            count = sum(each.endswith(ends[0]) and each.removesuffix(ends[0]) + ends[1] in known for each in images)
            if stem and count > best[0]:
                best = count, ends
    return best[1] if best[0] >= max(1, len(images) / 2) else None


def cure(images: Collection[str], masks: Collection[str], folders: tuple[str, str]) -> str:
    """Returns the end of a message about images without a mask: what would pair them with the masks left over."""
    if found := suffixes(images, masks):
        pairs = zip(("image_suffix", "mask_suffix"), found, strict=True)
        return ": give " + " and ".join(f'{option}="{end}"' for option, end in pairs if end)
    if found := suffixes([name[::-1] for name in images], [name[::-1] for name in masks]):
        places = zip(("images", "masks"), folders, found, strict=True)
        return ": give " + " and ".join(
            f'{option}="{folder}/{end[::-1]}{{stem}}"' for option, folder, end in places if end
        )
    folded = {name.casefold() for name in masks}
    if count := sum(name.casefold() in folded for name in images):
        return f": the names of {count} masks differ only in capital letters, rename them"
    return f", where {some(sorted(masks))} {'has' if len(masks) == 1 else 'have'} no image" if masks else ""
