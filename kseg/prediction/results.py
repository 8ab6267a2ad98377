"""The files that `kseg predict` writes: label maps in the chosen formats, overlays, and tables."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np

from kseg.inference import Format, Overlays, VideoWriter
from kseg.lock import held
from kseg.prediction.failures import is_disk_full
from kseg.prediction.place import IN_MEMORY, Place, pieces

TABLE, HEAD = "areas.csv", b"image,id,class,pixels,share"
"""The table that every run writes, and its beginning.

It is begun before the other files, so that a run that is killed can be repeated.
"""
WRITTEN = ".kseg-results"
"""The file that lists the formats that runs have written into a folder, one `Format.path` per line."""
PROGRESS = ".kseg-predict"
"""The folder in that of the results that says what a run on several machines has done."""


def write_image(
    place: Place, formats: Iterable[Format], name: str, source: str, image: Any, label: np.ndarray,
    video: VideoWriter | None = None,
) -> tuple[dict[str, bytes], list[Exception]]:  # fmt: skip
    """Writes the files `name` of one image and its label map; tables call the image `source`.

    The overlay of a frame is added to a `video` instead.

    Returns:
        The parts of the files for all images by their paths, for `Results.collect`, and the errors of those files that
        could not be written.

    Raises:
        OSError: If the disk is full.
    """
    parts: dict[str, bytes] = {}
    errors: list[Exception] = []
    for each in formats:
        try:
            if video is not None and isinstance(each, Overlays):
                video.add(each.frame(image, label))
                continue
            content = each.encode(source, image, label)
            if "{name}" in each.path:
                place.write(each.path.format(name=name), content)
            else:
                parts[each.path] = content
        except Exception as error:  # of an encoder, or of this file only: its name, or what is in its place
            if is_disk_full(error):
                raise
            errors.append(error)
    return parts, errors


class Results:
    """A folder of results, to be used in a `with` block; every file in it appears whole or not at all.

    Args:
        place: The folder, which is made, or an address.
        formats: What to write.
    """

    def __init__(self, place: Place | str | os.PathLike[str], formats: Iterable[Format]):
        self.place = place if isinstance(place, Place) else Place(place)
        self.formats, self.done = list(formats), 0
        self.collected: dict[str, IO[bytes]] = {}
        self.is_begun = False

    def add(
        self, name: str, source: str, image: Any, label: np.ndarray, video: VideoWriter | None = None
    ) -> list[Exception]:
        """Writes the files of one image; see `write_image`. Returns the errors of those that could not be written."""
        parts, errors = write_image(self.place, self.formats, name, source, image, label, video)
        self.collect(parts)
        return errors

    def keep(self) -> None:
        """Keeps the begun table also after an error: other processes may have written files."""
        self.is_begun = False

    def collect(self, parts: Mapping[str, bytes]) -> None:
        """Adds the parts of the next image to the files for all images."""
        for each in self.formats:
            if each.path in parts:
                self.collected[each.path].write(each.append(parts[each.path]))
        self.done += 1

    def __enter__(self) -> "Results":
        """Makes the folders: where that is not allowed, no image is labeled in vain."""
        self._make("")
        with contextlib.ExitStack() as stack:
            if self.place.local is not None:  # stores at addresses have no locks
                busy = f"another kseg predict writes to {self.place}: wait for it, or name another folder with -o"
                stack.enter_context(held(self.place.local, busy))
            written = self._check()
            for each in self.formats:
                self._make(os.path.dirname(each.path))
            shared = [each for each in self.formats if "{name}" not in each.path]
            for each in shared:
                if self.place.local is not None and (self.place.local / each.path).is_dir():
                    raise ValueError(f"{self.place.shown(each.path)} is a folder: choose another one with -o")
            for each in shared:
                if each.path == TABLE and not self.place.has(TABLE):
                    self.place.write(TABLE, each.head())
                    self.is_begun = True
            if paths := {each.path for each in self.formats} - written:
                self.place.write(WRITTEN, "".join(f"{path}\n" for path in sorted(written | paths)).encode())
            for each in shared:
                self.collected[each.path] = tempfile.SpooledTemporaryFile(IN_MEMORY)
            self._lock = stack.pop_all()
        return self

    def _make(self, folder: str) -> None:
        try:
            if self.place.local is not None:
                (self.place.local / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"cannot make the folder {self.place.shown(folder)} ({error.strerror}): choose another one with -o"
            ) from None

    def _check(self) -> set[str]:
        """Returns which formats earlier runs have written here, by `Format.path`.

        Raises:
            ValueError: If there are files in the places of other formats, such as masks for training.
        """
        written: set[str] = set()
        if self.place.read(TABLE, len(HEAD)) == HEAD:
            written = {TABLE, *(self.place.read(WRITTEN) or b"").decode("utf-8", "replace").splitlines()}
        for each in self.formats:
            folder, _, file = each.path.rpartition("/")
            there = sorted(self.place.names(folder)) if each.path not in written else []
            found = there[0] if there and "{name}" in file else file if file in there else None
            if found is not None:
                path = self.place.shown(f"{folder}/{found}" if folder else found)
                why = f"is no result that {WRITTEN} lists" if written else "was not written by kseg predict"
                raise ValueError(f"{path} {why}: name another folder with -o")
        return written

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the files for all images; after an error, they hold the images that were done."""
        with self._lock:
            self._end(kind)

    def _end(self, kind: type[BaseException] | None) -> None:
        errors = []
        for each in self.formats:
            if (file := self.collected.get(each.path)) is None:
                continue
            with file:
                try:
                    if kind is None or self.done:
                        self.place.write(each.path, itertools.chain([each.head()], pieces(file), [each.tail()]))
                except OSError as error:
                    errors.append(error)
        if self.is_begun and kind is not None and not self.done:  # nothing was written
            self.place.remove(TABLE)
            self.place.remove(WRITTEN)
        if errors and kind is None:
            raise errors[0]
