"""Pairs of the Parquet files of Hugging Face `datasets`, read by row groups."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kseg.data.decoding.decoded import Content
from kseg.data.shards.places import INSTALL, Place
from kseg.data.shards.recent import Recent
from kseg.data.shards.records import Record

IMAGES = ("image", "img", "pixel_values", "picture", "input")
MASKS = (
    "mask", "label", "annotation", "segmentation_mask", "semantic_segmentation", "segmentation", "labels", "masks",
    "seg", "gt", "target",
)  # fmt: skip
"""Columns that are tried, in this order."""
GROUPS_LIMIT = 256 * 2**20
"""Bytes of row groups that are kept; one that is larger is kept alone."""
OPEN = 64
"""Files that are open at a time."""


class ParquetFiles:
    """The pairs of Parquet files, in which images are files: `{bytes, path}`, or bytes alone. Threads can share it.

    A row is read with all of its row group, so an order at random reads a row group for each image, unless all of them
    fit `GROUPS_LIMIT`. Memory depends on the number of row groups and on that limit.

    Args:
        files: The Parquet files.
        images: The column of the images; None tries the usual names.
        masks: That of the masks.

    Raises:
        ValueError: If a file is damaged, or a column is missing or has another type.
        ModuleNotFoundError: If pyarrow is missing.
    """

    def __init__(self, files: Sequence[Place], images: str | None = None, masks: str | None = None) -> None:
        self.files = tuple(files)
        self.opened = Recent(self._opened, OPEN)
        self._forget()
        self.columns: tuple[str, str] | None = None
        groups, rows = [], []
        for number, place in enumerate(self.files):
            file, _ = self.opened(number)
            found = tuple(
                _column(place, file.schema_arrow, noun, given, names)
                for noun, given, names in (("image", images, IMAGES), ("mask", masks, MASKS))
            )
            if self.columns is not None and found != self.columns:
                raise ValueError(f"{place} has other columns than {self.files[0]}: name them, images= and masks=")
            self.columns = (found[0], found[1])
            groups += [(number, group) for group in range(file.metadata.num_row_groups)]
            rows += [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self.groups = np.array(groups, np.int32).reshape(-1, 2)
        self.ends = np.cumsum(rows, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def record(self, index: int) -> Record:
        """Reads one pair."""
        place, group, row = self._place(index)
        table, contents = self._group(group), []
        for column in self.columns or ():
            value = table.column(column)[row].as_py()
            data, path = (value["bytes"], value.get("path")) if isinstance(value, dict) else (value, None)
            if data is None:
                fault = f"is the file {path}, not its bytes" if path else "is empty"
                raise ValueError(
                    f"{place}: {column} of image {index} {fault}: write the bytes into the file, as to_parquet of the "
                    "package datasets does"
                )
            contents.append(Content(f"{place}/{path or f'{column} {index}'}", data))
        return Record(self.name(index), contents[0], contents[1])

    def name(self, index: int) -> str:
        """Returns the name of a pair, its number."""
        return f"{index:08d}"

    def size(self, index: int) -> None:
        """Returns None: Parquet files do not state the size of images."""

    def contents(self) -> list[list[Any]]:
        """Returns the name of each file, the number of its pairs and its bytes."""
        rows = np.bincount(self.groups[:, 0], np.diff(self.ends, prepend=0), minlength=len(self.files))
        return [[place.name, int(count), place.stamp()[0]] for place, count in zip(self.files, rows, strict=True)]

    def _place(self, index: int) -> tuple[Place, int, int]:
        """Returns the file of a pair, the number of its row group among all, and its row there."""
        group = int(np.searchsorted(self.ends, index, side="right"))
        return self.files[self.groups[group, 0]], group, index - (int(self.ends[group - 1]) if group else 0)

    def _group(self, group: int) -> Any:
        number, place = (int(value) for value in self.groups[group])
        file, lock = self.opened(number)
        with lock:  # a file is read by one thread at a time, and a group once
            with self._lock:
                if group in self._groups:
                    self._groups.move_to_end(group)
                    return self._groups[group]
            try:
                table = file.read_row_group(place, columns=list(self.columns or ()), use_threads=False)
            except (OSError, ValueError) as error:
                raise ValueError(f"{self.files[number]} is damaged: copy it again ({_first(error)})") from None
            with self._lock:
                self._groups[group] = table
                while len(self._groups) > 1 and sum(each.nbytes for each in self._groups.values()) > GROUPS_LIMIT:
                    self._groups.popitem(last=False)
        return table

    def _opened(self, number: int) -> tuple[Any, Any]:
        return _open(self.files[number]), threading.Lock()

    def _forget(self) -> None:
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_groups", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _open(place: Place) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{place} is read by pyarrow, which is not installed: {INSTALL}") from None
    if not place.is_file():
        raise FileNotFoundError(f"{place} is missing: put it back")
    try:
        return pyarrow.parquet.ParquetFile(place.open() if place.is_remote else str(place.path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{place} is truncated or no Parquet file: copy it again ({_first(error)})") from None


def _column(place: Place, schema: Any, noun: str, given: str | None, names: Iterable[str]) -> str:
    """Returns the column of the images or masks."""
    import pyarrow

    column = given or next((name for name in names if name in schema.names), None)
    if column not in schema.names:
        raise ValueError(
            f"{place} has no column of {noun}s{'' if given is None else f' {given!r}'}, it has "
            f"{', '.join(schema.names)}: name the column, {noun}s="
        )
    kind, types = schema.field(column).type, pyarrow.types
    inner = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (types.is_binary(inner) or types.is_large_binary(inner)):
        raise ValueError(
            f"{place}: the column {column!r} must hold image files, bytes or {{bytes, path}}, it is {kind}"
        )
    return str(column)


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
