"""Folders and files on the disk, or at an address such as `gs://bucket/folder`, which fsspec reads."""

import fnmatch
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

INSTALL = "pip install 'kseg[scale]'"


@dataclass(frozen=True)
class Place:
    """A file or folder; `address` is a path, or a URL of any file system that fsspec knows.

    Example:
        >>> Place("gs://bucket/cells") / "train" / "index.json"
        Place(address='gs://bucket/cells/train/index.json')
        >>> Place("file:///data/cells").is_remote
        False
    """

    address: str

    @classmethod
    def of(cls, address: str | os.PathLike[str]) -> "Place":
        """Returns a place; `~` and `file://` become a path."""
        text = os.fspath(address)
        return cls(text if "://" in text else os.path.expanduser(text))

    @property
    def is_remote(self) -> bool:
        """Whether files are read through fsspec."""
        return "://" in self.address and not self.address.startswith("file://")

    @property
    def path(self) -> Path:
        """The path of a place on the disk."""
        return Path(self.address.removeprefix("file://"))

    @property
    def name(self) -> str:
        """The last part of the address."""
        return posixpath.basename(self.address.rstrip("/")) if self.is_remote else self.path.name

    def __truediv__(self, name: str) -> "Place":
        return Place(f"{self.address.rstrip('/')}/{name}" if self.is_remote else str(self.path / name))

    def __str__(self) -> str:
        return self.address

    def is_file(self) -> bool:
        """Returns whether the file exists."""
        if not self.is_remote:
            return self.path.is_file()
        system, path = self.system()
        return bool(system.isfile(path))

    def read(self) -> bytes:
        """Reads a whole file."""
        with self.open() as file:
            return file.read()

    def open(self) -> BinaryIO:
        """Opens a file that can be read from any position."""
        if not self.is_remote:
            return self.path.open("rb")
        system, path = self.system()
        file: BinaryIO = system.open(path, "rb")
        return file

    def span(self, start: int, size: int) -> bytes:
        """Reads some bytes of a file."""
        if self.is_remote:
            system, path = self.system()
            found: bytes = system.cat_file(path, start=start, end=start + size)
            return found
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def stamp(self) -> tuple[int, str]:
        """Returns the bytes of a file and a text that changes with it, as far as the file system tells."""
        if not self.is_remote:
            found = self.path.stat()
            return found.st_size, str(found.st_mtime_ns)
        system, path = self.system()
        details = system.info(path)
        kept = [str(details[key]) for key in ("etag", "ETag", "mtime", "LastModified", "created") if key in details]
        return int(details["size"]), " ".join(kept)

    def matching(self, pattern: str) -> "list[Place]":
        """Returns the files of a folder whose names match a pattern, sorted; none if there is no such folder."""
        if not self.is_remote:
            names = (each.name for each in os.scandir(self.path) if each.is_file()) if self.path.is_dir() else ()
        else:
            system, path = self.system()
            entries = system.ls(path, detail=True) if system.isdir(path) else ()
            names = (posixpath.basename(entry["name"]) for entry in entries if entry["type"] == "file")
        return [self / name for name in sorted(names) if fnmatch.fnmatchcase(name, pattern)]

    def download(self, target: Path) -> None:
        """Copies a remote file."""
        system, path = self.system()
        system.get_file(path, os.fspath(target))

    def system(self) -> tuple[Any, str]:
        """Returns the file system of fsspec and the path in it.

        Raises:
            ModuleNotFoundError: If fsspec, or the package for this kind of address, is not installed.
        """
        try:
            import fsspec
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{self.address} is read through fsspec, which is not installed: {INSTALL}"
            ) from None
        try:
            system, path = fsspec.core.url_to_fs(self.address)
        except ImportError as error:
            raise ModuleNotFoundError(f"{self.address} needs a package that is not installed: {error}") from None
        except ValueError as error:  # an unknown protocol
            raise ValueError(f"{self.address}: fsspec cannot read it ({error})") from None
        return system, path
