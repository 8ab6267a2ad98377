"""Workers on a Ray cluster: each has a predictor of its own, and is replaced if it ends."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from kseg.prediction.cluster import Plan
from kseg.prediction.failures import is_disk_full, reason
from kseg.prediction.job import Item, Job
from kseg.prediction.worker import Worker

WAITING = 2
"""Number of tasks that a worker has at a time: the next one has arrived when it finishes one."""
STARTS = 3
"""Number of workers in succession that may end before they are ready."""
MISTAKES = (ValueError, OSError, ImportError, MemoryError)
"""Errors that a user can fix."""


class Fault(NamedTuple):
    """An error of a worker that would meet every image."""

    text: str
    is_full: bool = False

    def error(self) -> Exception:
        """Returns the error to raise."""
        return OSError(self.text) if self.is_full else ValueError(self.text)


class Task(NamedTuple):
    """Something to do for a worker: images to label, or a tile of an image.

    Attributes:
        items: The images.
        place: The rows and columns of the tile; None for whole images.
        number: The number of the tile.
        alone: Whether the worker has nothing else to do then, so that it is known what ended it.
    """

    items: list[Item]
    place: tuple[slice, slice] | None = None
    number: int = 0
    alone: bool = False


Outcome: TypeAlias = Any
"""What a worker returns for a task; None if the worker ended."""


class RemoteWorker:
    """A `Worker` in a process of Ray, whose errors are returned, since Ray adds tracebacks to those that are raised."""

    def __init__(self, job: Job, version: str):
        self._fault: Fault | None = None
        self._worker: Worker | None = None
        try:
            import kseg

            if kseg.__version__ != version:
                raise ValueError(f"a worker has kseg {kseg.__version__}, this command is of {version}")
            with contextlib.suppress(OSError):  # of a machine without that folder, which does not matter to addresses
                os.chdir(job.folder)
            self._worker = Worker(job)
        except MISTAKES as error:
            self._fault = Fault(f"a worker cannot start: {reason(error)}")

    def ready(self) -> Fault | None:
        """Returns why it cannot work, or None."""
        return self._fault

    def run(self, task: Task) -> Outcome:
        """Does a task; what fails with a tile is an error of its image."""
        assert self._worker is not None
        if task.place is not None:
            try:
                return self._worker.tile(task.items[0], task.place)
            except Exception as error:  # backends have error types of their own, some of which cannot be sent
                return ValueError(reason(error))
        try:
            return self._worker.label(task.items)
        except MISTAKES as error:
            return Fault(reason(error), is_disk_full(error))


class Pool:
    """Workers of a cluster.

    Args:
        ray: The module, connected to the cluster.
        job: What all workers share; each machine gets it once.
        plan: How many workers there are, and what each has.
        environment: Their environment variables.
        version: The version of kseg.
    """

    def __init__(self, ray: Any, job: Job, plan: Plan, environment: Mapping[str, str], version: str):
        self._ray = ray
        self._arguments = ray.put(job), version
        options: dict[str, Any] = {"num_cpus": plan.cpus, "runtime_env": {"env_vars": dict(environment)}}
        if plan.gpus:
            options["num_gpus"] = plan.gpus
        self._class = ray.remote(RemoteWorker).options(max_restarts=0, max_task_retries=0, **options)
        self._starting: dict[Any, Any] = {}  # workers by what says that they are ready
        self._tasks: dict[Any, tuple[Any, Task]] = {}  # workers and their tasks by what they will return
        self._ready: list[Any] = []
        self._ended = 0
        for _ in range(plan.workers):
            self._start()

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a task."""
        return bool(self._tasks)

    def fill(self, next_task: Callable[[bool], Task | None]) -> None:
        """Gives tasks to workers, until each has `WAITING` or one that is done alone.

        `next_task` takes whether the worker has no other task, and returns one or None.
        """
        for round in range(WAITING):
            for worker in self._ready:
                tasks = [task for each, task in self._tasks.values() if each is worker]
                if len(tasks) > round or any(task.alone for task in tasks):
                    continue
                if (task := next_task(not tasks)) is not None:
                    self._tasks[worker.run.remote(task)] = worker, task

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Waits for some time at most, and returns what was done in it; the outcome of a worker that ended is None.

        Raises:
            MemoryError: If workers end before they are ready.
            OSError: If the disk is full.
            ValueError: If a worker cannot start.
        """
        if not (waiting := [*self._starting, *self._tasks]):
            time.sleep(seconds)
            return []
        found, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not found:
            found, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        done: list[tuple[Task, Outcome]] = []
        for each in found:
            if each in self._starting:
                self._started(each)
            elif each in self._tasks:  # not one of a worker that has ended
                done += self._finished(each)
        return done

    def close(self) -> None:
        """Ends the workers."""
        for worker in [*self._ready, *self._starting.values()]:
            self._ray.kill(worker)

    def _start(self) -> None:
        worker = self._class.remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def _started(self, each: Any) -> None:
        worker = self._starting.pop(each)
        try:
            fault = self._ray.get(each)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            self._ended += 1
            if self._ended >= STARTS:
                raise MemoryError(
                    f"workers end while they start ({reason(error)}): with fewer --workers each has more memory"
                ) from None
            self._start()
            return
        if fault is not None:
            raise fault.error()
        self._ended = 0
        self._ready.append(worker)

    def _finished(self, each: Any) -> list[tuple[Task, Outcome]]:
        """Returns the outcome of a task, or those of all tasks of a worker that has ended, which is replaced."""
        worker, task = self._tasks[each]
        try:
            outcome = self._ray.get(each)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError:
            lost = [(key, task) for key, (other, task) in self._tasks.items() if other is worker]
            for key, _ in lost:
                del self._tasks[key]
            self._ready.remove(worker)
            self._start()
            return [(task, None) for _, task in lost]
        del self._tasks[each]
        if isinstance(outcome, Fault):
            raise outcome.error()
        return [(task, outcome)]
