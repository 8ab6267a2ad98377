"""A folder that one process at a time writes to."""

import contextlib
import pathlib
from collections.abc import Iterator

import filelock

LOCK = ".kseg.lock"
"""The file that a process holds while it writes; one that a killed process leaves behind is not held."""


@contextlib.contextmanager
def held(folder: pathlib.Path, message: str) -> Iterator[None]:
    """Holds the lock of a folder; raises a ValueError with the message if another process has it."""
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(message) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove open files
            (folder / LOCK).unlink()
        lock.release()
