"""Records of a packed split, read at random from its ArrayRecord files."""

from typing import Any

import numpy as np

from kseg.data.augment import INSTALL
from kseg.data.shards import cache
from kseg.data.shards.index import Index
from kseg.data.shards.places import Place
from kseg.data.shards.recent import Recent
from kseg.data.shards.records import Record, decode

OPEN = 128
"""Files that are open at a time."""
READING = {"options": "readahead_buffer_size:0", "file_reader_buffer_size": 2**15}
"""For random access: nothing is read ahead."""


class Packed:
    """The records of a packed split. Threads can share it; a copy in another process opens files of its own.

    Memory depends on the number of files, not of records.

    Args:
        folder: The folder of the split.
        cache_limit: Bytes of downloaded files that the cache may hold.

    Raises:
        FileNotFoundError: If there is no index.
        ValueError: If the index is damaged, or the split has more bytes than the cache may hold.
    """

    def __init__(self, folder: Place, cache_limit: int = cache.CACHE_LIMIT) -> None:
        self.folder, self.cache_limit = folder, cache_limit
        self.index = Index.read(folder)
        self.ends = np.cumsum([shard.records for shard in self.index.shards], dtype=np.int64)
        total = sum(shard.bytes for shard in self.index.shards)
        if folder.is_remote and total > cache_limit:
            raise ValueError(
                f"{folder} has {total:,} bytes, and the cache may hold {cache_limit:,}: raise it "
                f"with cache_limit = {2 * total} in [data.options], or copy the shards to a disk of this machine"
            )
        self.readers = Recent(self._opened, OPEN)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def record(self, index: int) -> Record:
        """Reads one record.

        Raises:
            FileNotFoundError: If its file is missing.
            ValueError: If the file is damaged.
        """
        number, place = self._place(index)
        shard = self.index.shards[number]
        name = str(self.folder / shard.file)
        reader = self.readers(number)
        try:
            (data,) = reader.read([place])
        except (RuntimeError, IndexError, ValueError) as error:
            raise ValueError(f"{name}: record {place} is damaged: copy the file again ({_first(error)})") from None
        return decode(data, name)

    def name(self, index: int) -> str:
        """Returns the name of a pair."""
        return self.record(index).name

    def size(self, index: int) -> tuple[int, int] | None:
        """Returns height and width of an image."""
        number, place = self._place(index)
        sizes = self.index.shards[number].sizes
        if sizes is None:
            return self.record(index).size
        for height, width, count in sizes:
            if place < count:
                return height, width
            place -= count
        return None

    def contents(self) -> list[list[Any]]:
        """Returns name, number of records and SHA-256 of each file."""
        return [[shard.file, shard.records, shard.sha256] for shard in self.index.shards]

    def _place(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.ends, index, side="right"))
        return number, index - (int(self.ends[number - 1]) if number else 0)

    def _opened(self, number: int) -> Any:
        shard = self.index.shards[number]
        place = self.folder / shard.file
        for _ in range(2):
            path = cache.local(place, shard, self.cache_limit)
            try:
                reader = array_record().ArrayRecordReader(str(path), **READING)
                count = reader.num_records()  # 0 of a missing file
            except RuntimeError as error:
                fault = f"is damaged: copy it again, or pack the data set again ({_first(error)})"
            else:
                if count == shard.records:
                    return reader
                fault = f"has {count} records, {shard.records} are expected: copy it again, or pack the data set again"
            if path.is_file():
                break
            fault = "was removed twice before it could be opened, to make room for others: raise cache_limit"
        raise ValueError(f"{place} {fault}")


def array_record() -> Any:
    """Imports the module of ArrayRecord, which Grain brings."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(f"packed data need array_record: {INSTALL} ({error})") from error
    return array_record_module


def _first(error: Exception) -> str:
    return str(error).splitlines()[0].split(";")[0] if str(error) else type(error).__name__
