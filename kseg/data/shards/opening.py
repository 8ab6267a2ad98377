"""Which container a place is, and what packed ones state about themselves."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kseg.data.finding.layout import aliases
from kseg.data.pixels import Pixels
from kseg.data.shards.cache import CACHE_LIMIT
from kseg.data.shards.index import FILE, Index
from kseg.data.shards.listing import files_of
from kseg.data.shards.packed import Packed
from kseg.data.shards.parquet import ParquetFiles
from kseg.data.shards.places import Place
from kseg.data.shards.records import Record
from kseg.data.shards.tar import TarFiles

SPLITS = ("train", "val", "test")


class Records(Protocol):
    """The pairs of a split in some container."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> Record:
        """Reads one pair."""
        ...

    def name(self, index: int) -> str:
        """Returns the name of a pair."""
        ...

    def size(self, index: int) -> tuple[int, int] | None:
        """Returns height and width of an image if the container states them."""
        ...

    def contents(self) -> list[list[Any]]:
        """Returns what changes with the content of each file."""
        ...


def open_records(
    place: Place, split: str | None, images: str | None = None, masks: str | None = None, cache_limit: int = CACHE_LIMIT
) -> Records:
    """Opens a split of packed shards, Parquet files or tar files; see `ShardDataset` for the arguments.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the files are damaged or contain no images or masks.
    """
    for name in aliases(split):
        folder = Place(place.address.replace("{split}", name)) if "{split}" in place.address else place / name
        if "*" not in folder.address and (folder / FILE).is_file():
            return Packed(folder, cache_limit)
    files = files_of(place, split)
    if split is None and not files and any((place / name / FILE).is_file() for name in SPLITS):
        raise ValueError(f'{place} was packed by splits: choose one, split="train", "val" or "test"')
    if not files:
        what = "no shards" if split is None else f"no {split} split"
        raise FileNotFoundError(
            f"{place} has {what}: there is neither {split or 'SPLIT'}/{FILE}, which kseg datasets pack writes last, "
            f"nor a Parquet or tar file of this name, such as {split or 'train'}-00000.parquet"
        )
    return (ParquetFiles if files[0].name.endswith(".parquet") else TarFiles)(files, images, masks)


def check_stated(place: Place, packed: Index, classes: Sequence[str] | None, given: Mapping[str, Any]) -> None:
    """Raises a ValueError for options that packed shards state themselves."""
    if classes is not None and tuple(classes) != packed.classes:
        stated, wanted = ", ".join(packed.classes), ", ".join(classes)
        raise ValueError(f"{place} was packed with the classes {stated}, not {wanted}: leave out classes=")
    empty: tuple[Any, ...] = (None, (), Pixels())
    if others := [f"{name}=" for name, value in given.items() if value not in empty]:
        raise ValueError(f"{place} states this itself: leave out {', '.join(others)}, or pack the data set again")


def arguments(packed: Index) -> dict[str, Any]:
    """Returns the arguments of `FileDataset` that a packed split states."""
    return {**packed.masks, "pixels": packed.meaning()}


def name_of_set(place: Place) -> str:
    """Returns the name of a data set without one: that of its folder."""
    parts = [part for part in re.split(r"[/\\]", place.address) if part and not re.search(r"[*{?]", part)]
    return parts[-1] if parts else "shards"
