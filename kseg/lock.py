"""A folder that one process at a time writes to."""

import contextlib
import pathlib
from collections.abc import Iterator

import filelock

LOCK = ".kseg.lock"
"""The file that a process holds while it writes; one that a killed process leaves behind is not held."""


@contextlib.contextmanager
def held(folder: pathlib.Path, message: str) -> Iterator[None]:
    """Holds the lock of a folder.

    Args:
        folder: The folder, which exists.
        message: The error if another process has the lock.

    Raises:
        ValueError: If another process has it, or the folder cannot be written to.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(message) from None
    except OSError as error:
        raise ValueError(f"cannot write to {folder} ({error.strerror}): name another folder") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove open files
            (folder / LOCK).unlink()
        lock.release()
