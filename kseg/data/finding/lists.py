"""The images of a split: lists in text files, or shares of all images."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kseg.data.finding.entries import Names, columns, may_be_titles, read_list
from kseg.data.finding.layout import ALIASES, Files, aliases, child, existing, find, fixed, normal
from kseg.data.finding.messages import counted, some

SPLITS = ("train", "val", "test")
LIST_FOLDERS = ("", "ImageSets/Segmentation", "ImageSets", "splits", "split", "lists", "list")
"""Where the lists of splits are looked for."""


@dataclass(frozen=True)
class Selection:
    """The images of a split.

    Args:
        keys: Their keys, in the order of the list, or sorted without one.
        file: The list, if there is one.
        missing: Entries of the list that are no image.
        notes: What else is worth to know about the list.
    """

    keys: list[str]
    file: Path | None = None
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def select(
    root: Path, name: str, split: str | None, splits: str | Mapping[str, str] | None, seed: int, found: Files
) -> Selection:
    """Chooses the images of a split by its list, its folder or its share.

    Args:
        root: The folder of the data set.
        name: Name of the data set, for errors.
        split: Name of the split; None for all images.
        splits: Shares or lists, as in `kseg.data.FolderDataset`.
        seed: Chooses which images fall into which share.
        found: The images.

    Raises:
        FileNotFoundError: If there is no such split.
        ValueError: If the shares are wrong, or the list cannot be read or names none of the images.
    """
    if split is None:
        return Selection(sorted(found.by_key))
    if isinstance(splits, str) and are_shares(splits):
        parts = shares(splits)
        known = next((known for known, names in ALIASES.items() if split in names), split)
        if known not in parts:
            raise FileNotFoundError(
                f'{name}: splits="{splits}" has no share for {split!r}; for the images of {SPLITS[1]}, '
                f'give split="{SPLITS[1]}"'
            )
        return Selection(divide(found.by_key, parts, known, seed))
    file = list_file(root, split, splits)
    if file is None and splits is None and found.of_split:
        return Selection(sorted(found.by_key))
    if file is None:
        folders = {path.name for path in found.folder.iterdir() if path.is_dir()}
        here = next((each for each in aliases(split) if each in folders), "") if splits is None else ""
        if here and (pattern := _with_split(root, here, found)):
            raise FileNotFoundError(
                f"{name}: there is a folder {found.folder / here}, but no {{split}} in the pattern of the images: "
                f'give images="{pattern}"'
            )
        places = splits if splits is not None else root / f"{split}.txt"
        divided = 'to divide all images, give splits="80/10/10"'
        if split in ALIASES["test"]:
            divided = f"for all images, give split=None; {divided}"
        raise FileNotFoundError(
            f"{name}: split {split!r} has neither a list {places} nor a folder {found.folder / split}; "
            + others(split, sorted(known_splits(root) | folders), divided)
        )
    return _listed(file, found, root)


def _with_split(root: Path, folder: str, found: Files) -> str | None:
    """Returns the pattern with `{split}` that finds images in the folder of a split, or None."""
    head, kinds = fixed(found.pattern), {path.suffix.lower() for path in found.by_key.values()}
    rest = PurePosixPath(found.pattern).parts[len(head) :]
    for after in (rest, rest[1:]):  # in front of the first wildcard, or in its place
        pattern = "/".join((*head, "{split}", *after))
        if "{stem}" in pattern and find(root, pattern.replace("{split}", folder), kinds).by_key:
            return pattern
    return None


def others(split: str, there: Sequence[str], divided: str) -> str:
    """Returns which other splits there are, and what to do: validation images can take the place of test images."""
    val = next((each for each in ALIASES["val"] if each in there), None)
    cure = f'for the images of {val}, give split="{val}"' if val and split in ALIASES["test"] else divided
    return f"splits found: {', '.join(there) or 'none'}; {cure}"


def _listed(file: Path, found: Files, root: Path) -> Selection:
    names, lines, titles, notes = Names(found.by_key, root), read_list(file), [], []
    if len(lines) > 1 and names.find(lines[0]) is None and may_be_titles(lines[0], file):
        notes.append(f"the first line of {file}, {lines[0]!r}, is no image but the names of columns")
        titles, lines = columns(lines[0]), lines[1:]
    column = names.column(lines, titles, file)
    pairs = [(line, names.find(line, column)) for line in lines]
    entries = [(entry, key) for entry, key in pairs if key is not None or not entry.startswith("#")]
    if several := [entry for entry, key in entries if key == ""]:
        raise ValueError(
            f"{file}: {counted(len(several), 'name')} {'fits' if len(several) == 1 else 'fit'} several images in "
            f"{found.folder}, such as {several[0]!r}: write its folder too"
        )
    if entries and all(key is None for _, key in entries):
        raise ValueError(
            f"{file}: none of its {len(entries)} names, such as {entries[0][0]!r}, is an image in {found.folder}, "
            f"which has {some(sorted(found.by_key)) or 'no images'}"
        )
    keys = [key for _, key in entries if key]
    unique = list(dict.fromkeys(keys))
    repeated = len(keys) - len(unique)
    if repeated:
        notes.append(f"{counted(repeated, 'repeated name')} in {file}: each image is read once")
    return Selection(unique, file, [entry for entry, key in entries if key is None], notes)


def shares(text: str) -> dict[str, float]:
    """Reads `"80/10/10"`, the shares of train, val and test, or `"80/20"`, those of train and val.

    Raises:
        ValueError: If it is not two or three positive numbers that add up to 100 (or to 1).

    Example:
        >>> shares("80/20")
        {'train': 0.8, 'val': 0.2}
    """
    try:
        numbers = [float(part.strip().removesuffix("%")) for part in text.split("/")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if len(numbers) not in (2, 3) or min(numbers) <= 0 or min(abs(total - 100), abs(total - 1)) > 1e-6:
        raise ValueError(
            f'splits="{text}" is not the shares of train, val and test: two or three numbers that add up to 100, '
            'such as splits="80/10/10"'
        )
    return {split: number / total for split, number in zip(SPLITS, numbers, strict=False)}


def are_shares(splits: str | Mapping[str, str] | None) -> bool:
    """Returns whether a value of `splits` means shares, and not files."""
    return isinstance(splits, str) and re.fullmatch(r"[-\d.,/\s%]+", splits) is not None


def divide(keys: Iterable[str], parts: Mapping[str, float], split: str, seed: int) -> list[str]:
    """Returns the keys of one split, sorted.

    The order in which images are dealt out depends on the seed and their names alone, so that most images keep their
    split if others are added.

    Raises:
        ValueError: If there are fewer images than splits.
    """
    order = sorted(keys, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogateescape")).digest())
    if 0 < len(order) < len(parts):
        raise ValueError(f"{counted(len(order), 'image')} cannot be divided into {len(parts)} splits")
    counts = {name: max(1, round(share * len(order))) for name, share in parts.items()}
    largest = max(counts, key=lambda name: counts[name])
    counts[largest] += len(order) - sum(counts.values())
    start = 0
    for name, count in counts.items():
        if name == split:
            return sorted(order[start : start + count])
        start += count
    return []


def list_file(root: Path, split: str, splits: str | Mapping[str, str] | None) -> Path | None:
    """Returns the file that lists the images of a split, or None if there is none.

    Args:
        root: The folder of the data set.
        split: Name of the split.
        splits: The folder of the lists, a pattern with `{split}`, or the file of each split; None looks in
            `LIST_FOLDERS`.

    Raises:
        FileNotFoundError: If a file is named that does not exist.
        ValueError: If `splits` is one file.
    """
    names = aliases(split)
    if isinstance(splits, Mapping):
        given = next((splits[name] for name in names if name in splits), None)
        if given is None:
            return None
        return _file(root, given) or _missing(f"there is no list {root / given} of split {split!r}")
    places = LIST_FOLDERS if splits is None else (splits.replace("\\", "/"),)
    if splits is not None and "{split}" not in splits and (one := _file(root, splits)):
        raise ValueError(
            f'splits="{splits}" is one list for all splits: write {{split}} in the place of the name of a split, such '
            f'as splits="{PurePosixPath(places[0]).with_name("{split}" + one.suffix)}", or name one list for each'
        )
    patterns = [place if "{split}" in place else str(PurePosixPath(place, "{split}.txt")) for place in places]
    return next((path for pattern in patterns for name in names if (path := _file(root, pattern, name))), None)


def known_splits(root: Path) -> set[str]:
    """Returns the names of the lists in `LIST_FOLDERS`."""
    return {path.stem for place in LIST_FOLDERS for path in (root / place).glob("*.txt")}


def _file(root: Path, pattern: str, split: str = "") -> Path | None:
    parts = PurePosixPath(normal(pattern.replace("\\", "/").replace("{split}", split))).parts
    try:
        path = child(existing(root, parts[:-1]), parts[-1])
    except FileNotFoundError:
        return None
    return path if path.is_file() else None


def _missing(text: str) -> Path:
    raise FileNotFoundError(text)
