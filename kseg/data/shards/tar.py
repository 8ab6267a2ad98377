"""Pairs of the tar files of WebDataset, read at random through a table of offsets that is made once."""

import hashlib
import os
import re
import secrets
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kseg import download
from kseg.data.decoding.decoded import Content
from kseg.data.picture import SUFFIXES
from kseg.data.shards.places import Place
from kseg.data.shards.recent import Recent
from kseg.data.shards.records import Record

MASK_WORDS = ("mask", "seg", "label", "segmentation", "annotation", "masks", "labels", "gt", "target")
"""Words before the suffix that mark a mask, as in `7.mask.png`."""
IMAGE_WORDS = ("image", "img", "input", "rgb")
LOSSY = ("jpg", "jpeg", "webp")
OPEN = 64
"""Tables that are open at a time."""
COLUMNS = 5
"""Of a table: offset and bytes of the image, the same of the mask, and the end of the names among all names."""

_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")


class TarFiles:
    """The pairs of tar files. Threads can share it.

    The members of a pair share what precedes the first dot of their names, and follow each other. Memory depends on the
    number of files; the tables, 40 bytes and the names for each pair, lie in `KSEG_HOME`.

    Args:
        files: The tar files.
        images: What follows the dot in the names of images, such as `"jpg"`; None tries the usual ones.
        masks: That of masks, such as `"seg.png"`.

    Raises:
        ValueError: If a file is damaged or compressed, or contains no pairs.
    """

    def __init__(self, files: Sequence[Place], images: str | None = None, masks: str | None = None) -> None:
        self.files, self.chosen = tuple(files), (images, masks)
        self.ends = np.cumsum([_count(self._table_file(number)) for number in range(len(files))], dtype=np.int64)
        self.tables = Recent(self._opened, OPEN)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def record(self, index: int) -> Record:
        """Reads one pair."""
        number, row, (key, image, mask) = self._find(index)
        place, contents = self.files[number], []
        for name, start, size in ((image, *row[:2]), (mask, *row[2:4])):
            data = place.span(int(start), int(size))
            if len(data) != size:
                raise ValueError(f"{place} is truncated: copy it again")
            contents.append(Content(f"{place}/{key}.{name}", data))
        return Record(key, contents[0], contents[1])

    def name(self, index: int) -> str:
        """Returns the name of a pair."""
        return self._find(index)[2][0]

    def size(self, index: int) -> None:
        """Returns None: tar files do not state the size of images."""

    def contents(self) -> list[list[Any]]:
        """Returns the name of each file, the number of its pairs and its bytes."""
        counts = np.diff(self.ends, prepend=0).tolist()
        return [[place.name, count, place.stamp()[0]] for place, count in zip(self.files, counts, strict=True)]

    def _find(self, index: int) -> tuple[int, np.ndarray, list[str]]:
        number = int(np.searchsorted(self.ends, index, side="right"))
        place = index - (int(self.ends[number - 1]) if number else 0)
        table, names = self.tables(number)
        start = int(table[place - 1, 4]) if place else 0
        return number, table[place], bytes(names[start : int(table[place, 4])]).decode().split("\0")

    def _opened(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        path = self._table_file(number)
        table = np.memmap(path, np.int64, "r", 8, (_count(path), COLUMNS))
        return table, np.memmap(path, np.uint8, "r", 8 + table.nbytes)

    def _table_file(self, number: int) -> Path:
        """Returns the file of a table, which is made if it is missing or the tar file has changed."""
        place = self.files[number]
        key = repr((place.address if place.is_remote else str(place.path.resolve()), place.stamp(), self.chosen))
        path = download.home() / "tables" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.table"
        if not path.is_file():
            with download.writing(path):
                if not path.is_file():
                    _write(path, *_table(place, *self.chosen))
        return path


def _count(path: Path) -> int:
    return int(np.fromfile(path, np.int64, 1)[0])


def _write(path: Path, table: "array[int]", names: bytearray) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with aside.open("wb") as file:
            file.write(np.int64(len(table) // COLUMNS).tobytes())
            table.tofile(file)
            file.write(names)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _table(place: Place, images: str | None, masks: str | None) -> tuple["array[int]", bytearray]:
    """Returns the table of a tar file and its names, three for each pair, with zeros between them."""
    table, names, known = array("q"), bytearray(), {}
    for key, members in _pairs(place):
        kinds = tuple(members)
        if kinds not in known:
            known[kinds] = _choose(place, key, kinds, images, masks)
        if (chosen := known[kinds]) is not None:
            names += "\0".join((key, *chosen)).encode()
            table.extend((*members[chosen[0]], *members[chosen[1]], len(names)))
    if not table:
        raise ValueError(f"{place} contains no pairs of an image and a mask, such as 7.jpg and 7.mask.png")
    return table, names


def _pairs(place: Place) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Yields each key with offset and bytes of its members, by what follows the key in their names."""
    current, members = "", dict[str, tuple[int, int]]()
    try:
        with place.open() as file, tarfile.open(fileobj=file, mode="r:") as opened:
            tar: Any = opened
            while (member := tar.next()) is not None:
                tar.members.clear()  # they would be kept
                found = _MEMBER.fullmatch(member.name)
                if found is None or not member.isreg():
                    continue
                if found[1] != current and members:
                    yield current, members
                    members = {}
                current = found[1]
                members[found[2].lower()] = member.offset_data, member.size
            if 0 < file.seek(0, os.SEEK_END) - tar.offset < tarfile.BLOCKSIZE:  # taken for the end by tarfile
                raise tarfile.TarError("it ends within a header")
    except tarfile.TarError as error:
        raise ValueError(f"{place} is truncated, compressed or no tar file ({error}): copy it again as .tar") from None
    if members:
        yield current, members


def _choose(
    place: Place, key: str, kinds: Sequence[str], images: str | None, masks: str | None
) -> tuple[str, str] | None:
    """Returns which members of a key are image and mask; None for a key with no pictures."""
    pictures = [kind for kind in kinds if f".{kind.rsplit('.', 1)[-1]}" in SUFFIXES]
    words = {kind: set(kind.split(".")[:-1]) for kind in pictures}
    marked = [kind for kind in pictures if words[kind] & {*MASK_WORDS}]
    plain = [kind for kind in pictures if kind not in marked and words[kind] <= {*IMAGE_WORDS}]
    if not marked and len(plain) > 1:  # 7.jpg and 7.png
        photos = [kind for kind in plain if kind.rsplit(".", 1)[-1] in LOSSY or words[kind]]
        marked, plain = ([kind for kind in plain if kind not in photos], photos) if len(photos) == 1 else ([], plain)
    options = ((images, plain), (masks, marked))
    chosen = [found if given is None else [given] if given in kinds else [] for given, found in options]
    if not pictures and not any(chosen):
        return None
    for noun, option, found in (("image", "images", chosen[0]), ("mask", "masks", chosen[1])):
        if len(found) != 1:
            fault = f"has no {noun}" if not found else f"has several {noun}s"
            raise ValueError(
                f"{place}: {key!r} {fault} among {', '.join(f'.{kind}' for kind in kinds)}: name what follows its key, "
                f'{option}="{"jpg" if noun == "image" else "mask.png"}"'
            )
    return chosen[0][0], chosen[1][0]
