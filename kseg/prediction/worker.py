"""A process that labels images of a run."""

import math
import os
import socket
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kseg.inference import Predictor
from kseg.prediction.failures import reason
from kseg.prediction.job import Item, Job
from kseg.prediction.place import Place
from kseg.prediction.progress import Progress
from kseg.prediction.results import write_image


class Large(NamedTuple):
    """The shape of an image whose tiles are left to several workers."""

    shape: tuple[int, ...]


class Worker:
    """Labels images and writes their results and records.

    Args:
        job: What to do.

    Raises:
        ValueError: If the model cannot be read, or this process does not see the folder of the results.
    """

    def __init__(self, job: Job):
        self.job, self.place = job, Place(job.out)
        self.progress = Progress(self.place)
        self.by = f"{socket.gethostname()} {os.getpid()}"
        if not self.progress.is_of(job):
            raise ValueError(
                f"{socket.gethostname()} does not see the folder {job.out} of this run: give a folder that all "
                "machines share, or an address such as s3://bucket/results, with -o"
            )
        self.formats = job.written()
        self.predictor = _Predictor(job.load(), **job.options)
        self.predictor.most = job.spread
        self.doubts: list[tuple[str, str]] = []
        self.predictor.warn = lambda name, doubt: self.doubts.append((name, doubt))
        self._opened: tuple[str, Any] | None = None

    def label(self, items: Sequence[Item]) -> list[Large | None]:
        """Labels images whose results are not written yet.

        Returns:
            None for each image that has a record now, or its shape if it is large.

        Raises:
            OSError: If the disk is full.
        """
        wanted = [item for item in items if not self.progress.has(item)]
        large: dict[str, Large] = {}
        sources = (item.source for item in wanted)
        with warnings.catch_warnings(record=True) as caught:
            for item, found in zip(wanted, self.predictor.many(sources, batch_size=self.job.batch_size), strict=True):
                parts: dict[str, bytes] = {}
                errors: list[Exception] = []
                if isinstance(found.error, _TooLarge):
                    large[item.key] = found.error.found
                    continue
                if found.error is not None:
                    errors = [found.error]
                else:
                    assert found.image is not None and found.label is not None
                    parts, errors = write_image(
                        self.place, self.formats, item.name, item.shown, found.image, found.label
                    )
                doubts = self.doubts + [(item.shown, str(each.message)) for each in caught]
                self.doubts.clear()
                caught.clear()
                self.progress.write(item, parts, [reason(error) for error in errors], doubts, self.by)
                del found
        return [large.get(item.key) for item in items]

    def tile(self, item: Item, place: tuple[slice, slice]) -> np.ndarray:
        """Returns the probabilities of a tile of an image, float32 `(h, w, num_classes)`."""
        if self._opened is None or self._opened[0] != item.key:
            self._opened = None  # not held while the next one is read
            self._opened = item.key, self.predictor.open(item.source)
            self.doubts.clear()  # known from the process that joins the tiles
        return self.predictor.tile_probabilities(self._opened[1], place)


class _TooLarge(Exception):
    def __init__(self, found: Large):
        super().__init__("too large for one worker")
        self.found = found


class _Predictor(Predictor):
    """A predictor that refuses images of more than `most` pixels that it would cut into tiles; 0 refuses none."""

    most = 0

    def _labels_of(self, image: Any) -> np.ndarray:
        if 0 < self.most < math.prod(image.shape[:2]) and self.tiles(image):
            raise _TooLarge(Large(tuple(image.shape)))
        return super()._labels_of(image)
