"""The index of a packed split: what its records contain, and which files hold them."""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg.data.dataset import ClassCounts
from kseg.data.pixels import Pixels
from kseg.data.shards.places import Place
from kseg.visualize import Color

FILE, VERSION = "index.json", 1
MOST_RUNS = 64
"""Sizes of the images of a shard are in the index up to so many runs of equal ones; else in the records alone."""


@dataclass(frozen=True)
class Shard:
    """One file.

    Args:
        file: Its name.
        records: Number of records.
        bytes: Size of the file.
        sha256: SHA-256 of the file.
        sizes: `[height, width, count]` of each run of images of one size; None if there are many runs.
    """

    file: str
    records: int
    bytes: int
    sha256: str
    sizes: Sequence[Sequence[int]] | None


@dataclass(frozen=True)
class Index:
    """A packed split.

    Args:
        name: Name of the data set.
        classes: Class names in the order of their ids.
        palette: One color per class.
        shards: The files, in the order of the records.
        counts: The pixels of each class, as `ClassCounts`, whose arrays are lists.
        arrays: Whether images are arrays, saved without loss, instead of files with a meaning of their own.
        drawn: Whether masks are label maps that kseg saved; otherwise `masks` says how to read the files.
        masks: Arguments of `FileDataset` for mask files: `palette`, `ignore` and `values`.
        void_is_255: Whether the mask files together showed that 255 is void.
        marks_void: Whether 255 is known to mark void.
        pixels: What the numbers of image files mean, `Pixels.to_json()`.
        channels: Number of channels of the images.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    shards: tuple[Shard, ...] = ()
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrays: bool = False
    drawn: bool = False
    masks: dict[str, Any] = dataclasses.field(default_factory=dict)
    void_is_255: bool = False
    marks_void: bool = False
    pixels: dict[str, Any] = dataclasses.field(default_factory=dict)
    channels: int = 3

    def to_json(self) -> str:
        """Returns the text of `index.json`."""
        return json.dumps({"format": "kseg shards", "version": VERSION, **dataclasses.asdict(self)}) + "\n"

    @classmethod
    def read(cls, folder: Place) -> "Index":
        """Reads the index of a packed split.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is damaged or of a later version.
        """
        place = folder / FILE
        try:
            content = json.loads(place.read())
            version = content.pop("version") if content.pop("format") == "kseg shards" else None
            if version is not None and version > VERSION:
                raise OverflowError
            shards = tuple(_checked(Shard(**shard)) for shard in content.pop("shards"))
            classes, palette = (
                tuple(content.pop("classes")),
                tuple((int(r), int(g), int(b)) for r, g, b in content.pop("palette")),
            )
            return cls(shards=shards, classes=classes, palette=palette, **content)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{place} is missing: it is written last, so repeat the command, kseg datasets pack RECIPE FOLDER"
            ) from None
        except OverflowError:
            raise ValueError(f"{place} was written by a later version of kseg: pip install --upgrade kseg") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{place} is not an index that kseg wrote ({error}): pack the data set again, kseg datasets pack"
            ) from None

    def meaning(self) -> Pixels:
        """Returns what the numbers of image files mean."""
        return Pixels.from_json(self.pixels, self.channels)

    def class_counts(self) -> ClassCounts:
        """Returns the pixels of each class."""
        return ClassCounts(
            np.array(self.counts["pixels"], np.int64), np.array(self.counts["around"], np.int64), self.counts["total"]
        )

    def has_one_size(self) -> bool:
        """Returns whether all images have one size."""
        if any(shard.sizes is None for shard in self.shards):
            return False  # many runs are at least two sizes
        return len({(height, width) for shard in self.shards for height, width, _ in shard.sizes or ()}) < 2


def _checked(shard: Shard) -> Shard:
    """Returns an entry of an index if no other file can be meant: file name and SHA-256 become paths."""
    for name, pattern in (("file", r"[0-9]{5,}\.array_record"), ("sha256", r"[0-9a-f]{64}")):
        if not re.fullmatch(pattern, value := getattr(shard, name)):
            raise ValueError(f"{name} of a shard is {value!r:.80}")
    numbers = [("records", shard.records), ("bytes", shard.bytes)]
    numbers += [("sizes", number) for run in shard.sizes or () for number in run]
    for name, number in numbers:
        if type(number) is not int or number < 1:
            raise ValueError(f"{name} of a shard must be positive integers, not {number!r:.80}")
    return shard


def runs(sizes: Iterable[tuple[int, int]]) -> list[list[int]] | None:
    """Returns `[height, width, count]` for each run of equal sizes, or None if there are more than `MOST_RUNS`.

    Example:
        >>> runs([(4, 6), (4, 6), (8, 6)])
        [[4, 6, 2], [8, 6, 1]]
    """
    found: list[list[int]] = []
    for height, width in sizes:
        if found and found[-1][:2] == [height, width]:
            found[-1][2] += 1
        elif len(found) == MOST_RUNS:
            return None
        else:
            found.append([height, width, 1])
    return found
