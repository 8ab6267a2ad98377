"""The images of a split: lists in text files, or shares of all images."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from kseg.data.layout import aliases, existing, normal
from kseg.data.text import read_text

SPLITS = ("train", "val", "test")
LIST_FOLDERS = ("", "ImageSets/Segmentation", "ImageSets", "splits", "lists")
"""Where the lists of splits are looked for."""


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
        raise ValueError(f"{len(order)} images cannot be divided into {len(parts)} splits")
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
    """
    names = aliases(split)
    if isinstance(splits, Mapping):
        given = next((splits[name] for name in names if name in splits), None)
        if given is None:
            return None
        return _file(root, given) or _missing(f"there is no list {root / given} of split {split!r}")
    places = LIST_FOLDERS if splits is None else (splits.replace("\\", "/"),)
    patterns = [place if "{split}" in place else str(PurePosixPath(place, "{split}.txt")) for place in places]
    return next((path for pattern in patterns for name in names if (path := _file(root, pattern, name))), None)


def known_splits(root: Path) -> set[str]:
    """Returns the names of the lists in `LIST_FOLDERS`."""
    return {path.stem for place in LIST_FOLDERS for path in (root / place).glob("*.txt")}


def _file(root: Path, pattern: str, split: str = "") -> Path | None:
    parts = PurePosixPath(normal(pattern.replace("\\", "/").replace("{split}", split))).parts
    try:
        path = existing(root, parts[:-1]) / parts[-1]
    except FileNotFoundError:
        return None
    return path if path.is_file() else None


def _missing(text: str) -> Path:
    raise FileNotFoundError(text)


def read_list(path: Path) -> list[str]:
    """Returns the entries of a list: its lines without empty ones and quotes.

    Raises:
        ValueError: If the file is not text.
    """
    lines = [normal(line.strip()).strip("\"'") for line in read_text(path).split("\n")]
    return [line for line in lines if line]


class Names:
    """Finds images by what lists call them: a stem, a file name or a path, with or without an ending."""

    def __init__(self, files: Mapping[str, Path], root: Path) -> None:
        self.keys: dict[str, str | None] = {}
        for key, path in files.items():
            try:
                relative = PurePosixPath(normal(path.relative_to(root).as_posix()))
            except ValueError:
                relative = PurePosixPath(normal(path.as_posix()))
            parts = relative.parts
            names = {key, PurePosixPath(key).name}
            for start in range(len(parts)):
                part = PurePosixPath(*parts[start:])
                names |= {str(part), str(part.with_suffix(""))}
            for name in names:  # None: a name of several images
                self.keys[name] = key if self.keys.get(name, key) == key else None
        self.keys |= {key: key for key in files}

    def find(self, entry: str) -> str | None:
        """Returns the key of the image that an entry names, or None; further columns are ignored."""
        for column in (entry, re.split(r"[\s,;]", entry, maxsplit=1)[0]):
            for text in (column, column.replace("\\", "/")):
                parts = text.split("/")
                for start in range(len(parts)):
                    name = "/".join(parts[start:])
                    key = self.keys.get(name) or self.keys.get(re.sub(r"(?<=[^/])\.\w+$", "", name))
                    if key is not None:
                        return key
        return None
