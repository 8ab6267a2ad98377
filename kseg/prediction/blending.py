"""The label map of a large image, whose tiles are predicted by several workers."""

import os
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np

from kseg.inference import Format, Predictor
from kseg.prediction.failures import is_disk_full, reason
from kseg.prediction.job import Item
from kseg.prediction.pool import Fault, Task
from kseg.prediction.progress import Progress
from kseg.prediction.results import write_image


class Blending(threading.Thread):
    """Joins the tiles of an image in their order, and writes its results and its record.

    Args:
        item: The image.
        shape: Its shape, `(H, W, C)`.
        predictor: A predictor with the options of the workers, of which the network is not run.
        formats: What to write.
        progress: Takes the record.
        ahead: Number of tiles that may be under way at a time.

    Attributes:
        fault: What would stop every image, such as a full disk; None if nothing.
    """

    def __init__(
        self, item: Item, shape: tuple[int, ...], predictor: Predictor, formats: Sequence[Format], progress: Progress,
        ahead: int,
    ):  # fmt: skip
        super().__init__(daemon=True)
        self.item, self.shape = item, shape
        self.predictor, self.formats, self.progress = predictor, formats, progress
        self.ahead = ahead
        self.fault: Fault | None = None
        self._places = predictor.tiles(SimpleNamespace(shape=shape))
        self._again: list[int] = []
        self._arrived: dict[int, np.ndarray] = {}
        self._asked = self._passed = self._taken = 0  # numbers of tiles
        self._tiles: queue.Queue[np.ndarray | Exception] = queue.Queue()
        self.start()

    def task(self) -> Task | None:
        """Returns the next tile to predict, if there is one and not too many are under way."""
        if self._again and self.is_alive():
            number = self._again.pop()
        elif self._asked < min(len(self._places), self._taken + self.ahead) and self.is_alive():
            number, self._asked = self._asked, self._asked + 1
        else:
            return None
        return Task([self.item], self._places[number], number)

    def add(self, number: int, tile: np.ndarray) -> None:
        """Takes a tile; they may come in any order."""
        self._arrived[number] = tile
        while self._passed in self._arrived:
            self._tiles.put(self._arrived.pop(self._passed))
            self._passed += 1

    def repeat(self, number: int) -> None:
        """Asks for a tile again."""
        self._again.append(number)

    def stop(self, error: Exception) -> None:
        """Ends the image with an error."""
        self._tiles.put(error)

    def run(self) -> None:
        """Opens the image, joins its tiles and writes its results."""
        doubts: list[tuple[str, str]] = []
        self.predictor.warn = lambda name, doubt: doubts.append((name, doubt))
        parts: dict[str, bytes] = {}
        try:
            image = self.predictor.open(self.item.source)
            label = self.predictor.label_of_tiles(self._stream(), image)
            parts, errors = write_image(
                self.progress.place, self.formats, self.item.name, self.item.shown, image, label
            )
        except Exception as error:  # as of `Predictor.many`
            if is_disk_full(error):
                self.fault = Fault(reason(error), True)
                return
            errors = [error]
        try:
            texts = [reason(error) for error in errors]
            self.progress.write(self.item, parts, texts, doubts, f"{socket.gethostname()} {os.getpid()}")
        except OSError as error:
            self.fault = Fault(reason(error), is_disk_full(error))

    def _stream(self) -> Iterator[np.ndarray]:
        for _ in self._places:
            tile = self._tiles.get()
            self._taken += 1
            if isinstance(tile, Exception):
                raise tile
            yield tile
