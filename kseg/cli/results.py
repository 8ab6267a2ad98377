"""The files that `kseg predict` writes: label maps in the chosen formats, overlays, and tables."""

import contextlib
import errno
import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np

from kseg.inference import Format, Overlays, VideoWriter
from kseg.pretrained import atomic_write

IN_MEMORY = 2**24
"""Bytes up to which a file for all images is kept in memory; larger ones wait in a temporary file."""
TABLE, HEAD = "areas.csv", b"image,id,class,pixels,share"
"""The table that every run writes and its beginning, by which a folder of results is recognized.

It is begun before the other files, so that a run that is killed can be repeated.
"""
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Numbers of the errors of a full disk."""


def is_disk_full(error: BaseException) -> bool:
    """Returns whether an error would meet every later file too."""
    return isinstance(error, OSError) and error.errno in FULL


class Results:
    """A folder of results, to be used in a `with` block; every file in it appears whole or not at all.

    Args:
        folder: The folder, which is made.
        formats: What to write.
    """

    def __init__(self, folder: pathlib.Path, formats: Iterable[Format]):
        self.folder, self.formats, self.done = folder, list(formats), 0
        self.collected: dict[str, IO[bytes]] = {}
        self.begun: pathlib.Path | None = None

    def add(
        self, name: str, source: str, image: np.ndarray, label: np.ndarray, video: VideoWriter | None = None
    ) -> list[Exception]:
        """Writes the files `name` of one image and its label map; tables call the image `source`.

        The overlay of a frame is added to a `video` instead.

        Returns:
            The errors of those files that could not be written.

        Raises:
            OSError: If the disk is full.
        """
        errors: list[Exception] = []
        for each in self.formats:
            try:
                if video is not None and isinstance(each, Overlays):
                    video.add(each.frame(image, label))
                    continue
                content = each.encode(source, image, label)
                if each.path not in self.collected:
                    atomic_write(self.folder / each.path.format(name=name), content)
            except Exception as error:  # of an encoder, or of this file only: its name, or what is in its place
                if is_disk_full(error):
                    raise
                errors.append(error)
            else:
                if each.path in self.collected:
                    self.collected[each.path].write(content)
        self.done += 1
        return errors

    def __enter__(self) -> "Results":
        """Makes the folders: where that is not allowed, no image is labeled in vain."""
        self._check()
        for folder in {(self.folder / each.path).parent for each in self.formats}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(
                    f"cannot make the folder {folder} ({error.strerror}): choose another one with -o"
                ) from None
        shared = [each for each in self.formats if "{name}" not in each.path]
        for each in shared:
            if (self.folder / each.path).is_dir():
                raise ValueError(f"{self.folder / each.path} is a folder: choose another one with -o")
        for each in shared:
            if each.path == TABLE and not (self.folder / TABLE).exists():
                atomic_write(self.folder / TABLE, each.head())
                self.begun = self.folder / TABLE
        for each in shared:
            self.collected[each.path] = tempfile.SpooledTemporaryFile(IN_MEMORY)
        return self

    def _check(self) -> None:
        """Refuses a folder with files in the places of results, such as masks for training, that no run wrote."""
        with contextlib.suppress(OSError), (self.folder / TABLE).open("rb") as table:
            if table.read(len(HEAD)) == HEAD:
                return
        for each in self.formats:
            place = self.folder / each.path
            there = place.parent.glob("*") if "{name}" in each.path else [place]
            if found := next((path for path in there if path.is_file()), None):
                raise ValueError(f"{found} was not written by kseg predict: name another folder with -o")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the files for all images; after an error, they hold the images that were done."""
        errors = []
        for each in self.formats:
            if (file := self.collected.get(each.path)) is None:
                continue
            with file:
                try:
                    if kind is None or self.done:
                        content = itertools.chain([each.head()], _pieces(file), [each.tail()])
                        atomic_write(self.folder / each.path, content)
                except OSError as error:
                    errors.append(error)
        if self.begun is not None and kind is not None and not self.done:  # nothing was written
            self.begun.unlink(missing_ok=True)
        if errors and kind is None:
            raise errors[0]


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(2**20), b"")


class Failures:
    """What failed, by image."""

    SHOWN = 5
    """Number of images with the same error from which they share a line."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.by_reason: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, errors: Sequence[Exception]) -> None:
        """Adds the errors of an image."""
        for error in errors:
            self.names[name] = None
            numbered = isinstance(error, OSError) and len(error.args) > 1 and error.filename is None
            text = " ".join(str(error.args[1] if numbered else error).split()) or type(error).__name__
            self.by_reason.setdefault(text.removeprefix(f"{name}: "), []).append(name)

    def lines(self) -> Iterator[str]:
        """Yields one line per image, or per error that many images have."""
        for reason, names in self.by_reason.items():
            if len(names) < self.SHOWN:
                yield from (reason if name in reason else f"{name}: {reason}" for name in names)
            else:
                yield f"{len(names)} images: {reason}: {', '.join(names[:3])} and {len(names) - 3} more"
