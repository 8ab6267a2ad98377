"""What a run has done: one record per image in a hidden folder of the results, from which the tables are made."""

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kseg.prediction.job import Item, Job
from kseg.prediction.place import Place
from kseg.prediction.results import PROGRESS

JOB = f"{PROGRESS}/job.json"
FINISHED = f"{PROGRESS}/finished"
"""The file that says that the command reached its end."""
READERS, AHEAD = 16, 64
"""Number of threads that read records, and of records that are read at a time."""
OPTIONS = {
    "model": "--weights", "kseg": "version of kseg", "backend": "KERAS_BACKEND", "flip": "--tta", "scales": "--tta",
    "pixels": "--range, --bands or --page", "background": "--keep-background", "pixel_size": "--pixel-size",
    "unit": "--pixel-size", "georeferenced": "kind of images (with or without georeferences)",
    "batch_size": "--batch-size", "format": "--format or --overlay",
}  # fmt: skip
"""What the command calls the parts of a description; the others have the names of its options."""


class Progress:
    """The records of a run.

    Args:
        place: The place of the results.
    """

    def __init__(self, place: Place):
        self.place = place

    def begin(self, job: Job) -> None:
        """Begins a run, or continues one.

        Raises:
            ValueError: If that was one with other options, or its description is damaged.
        """
        wanted = job.description()
        known = self.description()
        if known is None:
            self.place.remove(PROGRESS)  # of results that have been replaced
            self.place.write(JOB, json.dumps(wanted, indent=1).encode())
        elif other := [name for name in wanted.keys() | known.keys() if known.get(name) != wanted.get(name)]:
            names = sorted({OPTIONS.get(name, f"--{name}") for name in other})
            raise ValueError(
                f"{self.place} has results of a run with another {', '.join(names)}: name another folder with -o, or "
                f"remove {self.place.shown(PROGRESS)} to begin anew"
            )
        self.place.remove(FINISHED)
        self.place.write(_token(job), job.token.encode())

    def is_of(self, job: Job) -> bool:
        """Returns whether this process sees the folder in which the run was begun, not one of the same name."""
        return self.place.read(_token(job)) is not None

    def finish(self, job: Job) -> None:
        """Notes that the command has reached its end, so that another one may replace its results."""
        self.place.write(FINISHED, job.token.encode())
        self.place.remove(_token(job))

    def check_replaceable(self) -> None:
        """Raises a ValueError if there is a run that was not finished, whose records would be lost."""
        if self.description() is not None and not self.place.has(FINISHED):
            raise ValueError(
                f"{self.place} has an unfinished run with --ray: add --ray to continue it, or remove "
                f"{self.place.shown(PROGRESS)}"
            )

    def description(self) -> dict[str, str] | None:
        """Returns the description of the run; None if there is none; raises a ValueError if it is damaged."""
        content = self.place.read(JOB)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"{self.place.shown(JOB)} is damaged: remove {self.place.shown(PROGRESS)} to begin anew")
        return found

    def done(self) -> set[str]:
        """Returns the keys of the images whose results are all written."""
        with ThreadPoolExecutor(READERS) as pool:
            folders = [f"{PROGRESS}/{number:02x}" for number in range(256)]
            found = pool.map(lambda folder: list(self.place.names(folder)), folders)
            names = [name for each in found for name in each]
        return {name.removesuffix(".json") for name in names if name.endswith(".json") and "." not in name[:-5]}

    def has(self, item: Item) -> bool:
        """Returns whether the results of an image are all written."""
        return self.place.has(_path(item.key, failed=False))

    def write(
        self, item: Item, parts: Mapping[str, bytes], errors: Sequence[str], doubts: Iterable[tuple[str, str]], by: str
    ) -> None:
        """Writes the record of an image.

        Args:
            item: The image.
            parts: Its parts of the files for all images.
            errors: What failed; an image that failed is labeled again by the next run.
            doubts: Names of images, and what is doubtful about them.
            by: The process that labeled it; the record also has the CPU seconds that it has taken so far.
        """
        texts = {path: part.decode() for path, part in parts.items()}
        found = {
            "image": item.shown,
            "errors": list(errors),
            "doubts": list(doubts),
            "by": by,
            "cpu": time.process_time(),
            "parts": texts,
        }
        self.place.write(_path(item.key, failed=bool(errors)), json.dumps(found).encode())

    def records(self, items: Sequence[Item]) -> Iterator[tuple[Item, dict[str, Any] | None]]:
        """Yields the records of images in order; None for an image without one."""
        listed = iter(items)
        with ThreadPoolExecutor(READERS) as pool:
            while some := list(itertools.islice(listed, AHEAD)):
                yield from zip(some, pool.map(self._read, some), strict=True)

    def _read(self, item: Item) -> dict[str, Any] | None:
        content = self.place.read(_path(item.key, failed=False)) or self.place.read(_path(item.key, failed=True))
        return None if content is None else json.loads(content)


def _token(job: Job) -> str:
    """The name has the token: a host may remember the content of a file that it has read on a shared disk."""
    return f"{PROGRESS}/run-{job.token}"


def _path(key: str, *, failed: bool) -> str:
    return f"{PROGRESS}/{key[:2]}/{key}{'.failed' * failed}.json"
