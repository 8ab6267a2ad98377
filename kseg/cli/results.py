"""The files that `kseg predict` writes: label maps in the chosen formats, overlays, and a table of areas."""

import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np

from kseg.inference import ALWAYS_WRITTEN, FORMATS
from kseg.pretrained import atomic_write

IN_MEMORY = 2**24
"""Bytes up to which a file for all images is kept in memory; larger ones wait in a temporary file."""


class Results:
    """A folder of results, to be used in a `with` block; every file in it appears whole or not at all.

    `chosen` are keys of `FORMATS`; those in `ALWAYS_WRITTEN` are written besides.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        chosen: Iterable[str],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
    ):
        self.folder, self.done = folder, 0
        kinds = [*(FORMATS[name] for name in chosen), *ALWAYS_WRITTEN]
        self.formats = [kind(classes, palette) for kind in kinds]
        self.collected: dict[str, IO[bytes]] = {
            each.path: tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
            for each in self.formats
            if "{name}" not in each.path
        }

    def add(self, name: str, source: str, image: np.ndarray, label: np.ndarray) -> None:
        """Writes the files `name` of one image and its label map; tables call the image `source`."""
        for each in self.formats:
            content = each.encode(source, image, label)
            if each.path in self.collected:
                self.collected[each.path].write(content)
            else:
                atomic_write(self.folder / each.path.format(name=name), content)
        self.done += 1

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the files for all images; after an error, they hold the images that were done."""
        for each in self.formats:
            if (file := self.collected.get(each.path)) is None:
                continue
            with file:
                if kind is None or self.done:
                    atomic_write(self.folder / each.path, itertools.chain([each.head()], _pieces(file), [each.tail()]))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(2**20), b"")
