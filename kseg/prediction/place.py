"""The place of results: a local folder, or an address such as `s3://bucket/results`."""

import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from kseg.inference import filesystem
from kseg.pretrained import atomic_write

IN_MEMORY = 2**24
"""Bytes up to which a file is kept in memory before it is sent to its address."""


class Place:
    """Files under a folder or an address, each of which appears whole or not at all.

    Args:
        name: A local folder or an address; `file://` stands for a local folder.

    Attributes:
        local: The folder; None for an address.
    """

    def __init__(self, name: str | os.PathLike[str]):
        self.name = os.fspath(name).removeprefix("file://")
        self.local = None if "://" in self.name else pathlib.Path(self.name)
        self._files: Any = None
        if self.local is None:
            self._files, self._root = filesystem(self.name.rstrip("/"))

    def __str__(self) -> str:
        return self.name

    def shown(self, path: str) -> str:
        """Returns the name of a file in messages."""
        return str(self.local / path) if self.local else f"{self.name.rstrip('/')}/{path}"

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        """Writes a file, whole or in pieces; raises an OSError if it cannot be written."""
        if self.local is not None:
            atomic_write(self.local / path, content)
            return
        try:
            if isinstance(content, bytes):
                self._files.pipe_file(self._at(path), content)
                return
            with tempfile.TemporaryDirectory() as folder:
                aside = pathlib.Path(folder) / "file"
                atomic_write(aside, content)
                self._files.put_file(os.fspath(aside), self._at(path))
        except Exception as error:  # each store has error types of its own
            raise OSError(f"cannot write {self.shown(path)}: {error}") from None

    def read(self, path: str, most: int = -1) -> bytes | None:
        """Returns the content of a file, or its first `most` bytes; None if there is none."""
        try:
            if self.local is None and most < 0:
                return self._files.cat_file(self._at(path))
            with (self.local / path).open("rb") if self.local else self._files.open(self._at(path), "rb") as file:
                return file.read(most)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has(self, path: str) -> bool:
        """Returns whether there is a file or a folder."""
        return (self.local / path).exists() if self.local else self._files.exists(self._at(path))

    def names(self, folder: str) -> Iterator[str]:
        """Yields the names of the files in a folder, without its subfolders."""
        try:
            if self.local is not None:
                with os.scandir(self.local / folder) as found:
                    yield from (each.name for each in found if each.is_file())
                return
            for each in self._files.ls(self._at(folder), detail=True):
                if each["type"] == "file":
                    yield each["name"].rpartition("/")[2]
        except (FileNotFoundError, NotADirectoryError):
            return

    def remove(self, path: str) -> None:
        """Removes a file or a folder, if there is one."""
        if self.local is not None:
            there = self.local / path
            shutil.rmtree(there) if there.is_dir() else there.unlink(missing_ok=True)
        elif self.has(path):
            self._files.rm(self._at(path), recursive=True)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def pieces(file: io.BufferedIOBase | Any) -> Iterator[bytes]:
    """Yields the content of a file from its beginning."""
    file.seek(0)
    return iter(lambda: file.read(2**20), b"")
