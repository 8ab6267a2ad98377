"""A run on a Ray cluster: which worker labels what, what is done again, and the tables at the end."""

import collections
from collections.abc import Callable, Iterator, Sequence

from kseg.inference import Format, Predictor
from kseg.prediction.blending import Blending
from kseg.prediction.failures import Failures
from kseg.prediction.job import Item
from kseg.prediction.pool import Outcome, Pool, Task
from kseg.prediction.progress import Progress
from kseg.prediction.results import Results
from kseg.prediction.worker import Large

CHUNK = 16
"""Most images of a task; a worker that ends takes no more of them with it than it had begun."""
ATTEMPTS = 3
"""Number of workers that may end with an image before it is given up."""
LOST = (
    f"{ATTEMPTS} workers ended while they labeled it, probably because memory ran out: use fewer --workers or a "
    "smaller --tile"
)


class Run:
    """The images of a run that are left to do.

    Args:
        items: The images.
        pool: The workers.
        progress: The records.
        predictor: A predictor with the options of the workers, to join tiles.
        formats: What to write.
        workers: Number of workers.
        batch_size: Number of images that a worker takes at least, if there are so many.
        advance: Called for each image that is done.
    """

    def __init__(
        self, items: Sequence[Item], pool: Pool, progress: Progress, predictor: Predictor,
        formats: Sequence[Format], *, workers: int, batch_size: int, advance: Callable[[], None],
    ):  # fmt: skip
        self.pool, self.progress, self.predictor, self.formats = pool, progress, predictor, formats
        self.workers, self.advance = workers, advance
        self.chunks = _chunks(items, max(batch_size, min(CHUNK, len(items) // (4 * workers))))
        self.chunk = next(self.chunks, None)
        self.alone: collections.deque[Item] = collections.deque()
        self.large: collections.deque[tuple[Item, Large]] = collections.deque()
        self.blending: Blending | None = None
        self.ended: collections.Counter[str] = collections.Counter()

    def finish(self) -> None:
        """Labels the images; errors are those of `Pool.wait`."""
        while True:
            self._blend()
            self.pool.fill(self._next)
            if not (self.pool.is_busy or self.chunk or self.alone or self.blending):
                return
            for task, outcome in self.pool.wait(0.05 if self.blending else 1):
                self._done(task, outcome)

    def _next(self, is_idle: bool) -> Task | None:
        if self.blending and (task := self.blending.task()):
            return task
        if self.alone and is_idle:
            return Task([self.alone.popleft()], alone=True)
        if self.chunk is None:
            return None
        chunk, self.chunk = self.chunk, next(self.chunks, None)
        return Task(chunk)

    def _blend(self) -> None:
        """Begins the next large image when the last one is done."""
        if self.blending and not self.blending.is_alive():
            if self.blending.fault is not None:
                raise self.blending.fault.error()
            self.blending = None
            self.advance()
        if self.large and self.blending is None:
            item, large = self.large.popleft()
            ahead = 2 * self.workers + 2
            self.blending = Blending(item, large.shape, self.predictor, self.formats, self.progress, ahead)

    def _done(self, task: Task, outcome: Outcome) -> None:
        if task.place is not None:
            self._tile_done(task, outcome)
        elif outcome is None:
            for item in task.items:
                self._ended_with(item, counts=task.alone)
        else:
            for item, large in zip(task.items, outcome, strict=True):
                if large is None:
                    self.advance()
                else:
                    self.large.append((item, large))

    def _tile_done(self, task: Task, outcome: Outcome) -> None:
        (item,) = task.items
        if self.blending is None or self.blending.item.key != item.key:  # of an image that has failed
            return
        if outcome is not None and not isinstance(outcome, Exception):
            self.blending.add(task.number, outcome)
            return
        self.ended[item.key] += 1
        if isinstance(outcome, Exception) or self.ended[item.key] >= 2 * ATTEMPTS:
            self.blending.stop(outcome or MemoryError(LOST))
        else:
            self.blending.repeat(task.number)

    def _ended_with(self, item: Item, *, counts: bool) -> None:
        """Labels an image again, alone: what else its worker had to do may have ended it."""
        self.ended[item.key] += counts
        if self.ended[item.key] < ATTEMPTS:
            self.alone.append(item)
            return
        self.progress.write(item, {}, [LOST], [], "")
        self.advance()


def collect(
    results: Results, items: Sequence[Item], progress: Progress, failed: Failures, doubts: dict[str, list[str]]
) -> None:
    """Makes the tables from the records of the images, in the order of the images."""
    known = {(doubt, name) for doubt, names in doubts.items() for name in names}
    for item, record in progress.records(items):
        if record is None:
            failed.add(item.shown, [ValueError("its record has been removed: repeat the command")])
            continue
        for name, doubt in record["doubts"]:
            if (doubt, name) not in known:
                known.add((doubt, name))
                doubts.setdefault(doubt, []).append(name)
        failed.add(item.shown, [ValueError(text) for text in record["errors"]])
        if record["parts"]:
            results.collect({path: text.encode() for path, text in record["parts"].items()})


def _chunks(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    size = max(1, size)
    return (list(items[start : start + size]) for start in range(0, len(items), size))
