"""One ArrayRecord file while it is written."""

import os
import secrets
from pathlib import Path

from kseg import download
from kseg.data.shards.index import Shard, runs
from kseg.data.shards.packed import array_record
from kseg.data.shards.records import Record, encode

WRITING = "group_size:1,uncompressed"
"""One record in each chunk, for random access; images are compressed already."""


class Writer:
    """Writes a file under the name `.{name}.kseg-{16 hexadecimal digits}`, which `close` changes.

    Args:
        path: The file.

    Raises:
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aside = path.with_name(f".{path.name}.kseg-{secrets.token_hex(8)}")
        try:
            self.writer = array_record().ArrayRecordWriter(str(self.aside), WRITING)
        except RuntimeError as error:
            raise OSError(f"cannot write {path}: {error}") from None
        self.bytes = 0
        self.sizes: list[tuple[int, int]] = []

    def write(self, record: Record, size: tuple[int, int]) -> None:
        """Adds a record of an image of this height and width."""
        data = encode(record)
        try:
            self.writer.write(data)
        except RuntimeError as error:
            raise OSError(f"cannot write {self.path}: {error}") from None
        self.bytes += len(data)
        self.sizes.append(size)

    def close(self) -> Shard:
        """Ends the file, and returns its entry in the index."""
        try:
            self.writer.close()
        except RuntimeError as error:
            raise OSError(f"cannot write {self.path}: {error}") from None
        digest, size = download.file_sha256(self.aside), self.aside.stat().st_size
        os.replace(self.aside, self.path)
        return Shard(self.path.name, len(self.sizes), size, digest, runs(self.sizes))

    def discard(self) -> None:
        """Removes the unfinished file."""
        self.aside.unlink(missing_ok=True)
