"""Workers on a Ray cluster: each has a predictor of its own, and is replaced if it ends."""

import contextlib
import os
import re
import socket
import sys
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
PATIENCE = 60
"""Seconds without a new worker after which a line says what is waited for."""
OUT_OF_MEMORY = re.compile(r"\bOOM\b|(low on|out of) memory", re.IGNORECASE)
"""What Ray says of a worker that was, or may have been, ended because memory ran out."""
SAME = "install the same kseg and backend on every host"


class Fault(NamedTuple):
    """An error of a worker that would stop every image."""

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
        except Exception as error:  # of a backend: as of a driver that is missing on this host
            self._fault = Fault(f"a worker cannot start on {socket.gethostname()} ({_last_line(error)}): {SAME}")

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
        self._ray, self._plan = ray, plan
        self._arguments = ray.put(job), version
        options: dict[str, Any] = {"num_cpus": plan.cpus, "runtime_env": {"env_vars": dict(environment)}}
        if plan.gpus:
            options["num_gpus"] = plan.gpus
        self._class = ray.remote(RemoteWorker).options(max_restarts=0, max_task_retries=0, **options)
        self._starting: dict[Any, Any] = {}  # workers by what says that they are ready
        self._tasks: dict[Any, tuple[Any, Task]] = {}  # workers and their tasks by what they will return
        self._ready: list[Any] = []
        self._ended = 0
        self._since: float | None = time.monotonic()  # None after the line that says what is waited for
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
        given: dict[int, list[Task]] = {id(worker): [] for worker in self._ready}
        for worker, task in self._tasks.values():
            given[id(worker)].append(task)
        for round in range(WAITING):
            for worker in self._ready:
                tasks = given[id(worker)]
                if len(tasks) > round or any(task.alone for task in tasks):
                    continue
                if (following := next_task(not tasks)) is not None:
                    self._tasks[worker.run.remote(following)] = worker, following
                    tasks.append(following)

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Waits for some time at most, and returns what was done in it; the outcome of a worker that ended is None.

        Raises:
            MemoryError: If workers end before they are ready because memory runs out.
            OSError: If the disk is full.
            ValueError: If a worker cannot start.
        """
        self._tell()
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
        self._since = self._since and time.monotonic()
        worker = self._class.remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def _replace(self, worker: Any) -> None:
        """Starts a worker for another one, which may live on where only the connection to it was lost."""
        self._ray.kill(worker, no_restart=True)
        self._start()

    def _tell(self) -> None:
        """Says once on stderr what is waited for, if no worker has started for a while."""
        if self._starting and self._since is not None and time.monotonic() - self._since > PATIENCE:
            self._since = None
            missing, cpus = len(self._starting), self._plan.cpus
            text = f"waiting for {missing * cpus} cores of the cluster: {missing} of {self._plan.workers} workers"
            print(f"{text} have not started yet", file=sys.stderr)

    def _started(self, each: Any) -> None:
        worker = self._starting.pop(each)
        try:
            fault = self._ray.get(each)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            self._ended += 1
            if getattr(error, "actor_init_failed", False):  # as of a host without kseg
                raise ValueError(f"a worker cannot start ({_last_line(error)}): {SAME}") from None
            if self._ended >= STARTS:
                text = f"workers end while they start ({_last_line(error)})"
                if OUT_OF_MEMORY.search(str(error)):
                    raise MemoryError(f"{text}: with fewer --workers each has more memory") from None
                raise ValueError(f"{text}: {SAME}") from None
            self._replace(worker)
            return
        if fault is not None:
            raise fault.error()
        self._ended = 0
        self._since = self._since and time.monotonic()
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
            self._replace(worker)
            return [(task, None) for _, task in lost]
        del self._tasks[each]
        if isinstance(outcome, Fault):
            raise outcome.error()
        return [(task, outcome)]


def _last_line(error: Exception) -> str:
    """Returns the last line of an error: that of the cause, where Ray puts a traceback before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
