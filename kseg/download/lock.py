"""A lock between processes that dies with its holder."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PATIENCE = 600  # seconds to wait for another process
PAUSE = 0.1

if sys.platform == "win32":
    import msvcrt

    def _claim(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    try:
        import fcntl

        def _claim(file: IO[bytes]) -> None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    except ImportError:

        def _claim(file: IO[bytes]) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@contextlib.contextmanager
def locked(path: Path, *, patience: float = PATIENCE) -> Iterator[bool]:
    """Holds the lock of a file while the block runs, so that two processes do not write it at once.

    The operating system gives a lock back when its holder ends, however it ends: none is ever stale.

    Args:
        path: The file to be written; the lock is a hidden file beside it, which goes with the lock.
        patience: Seconds to wait for another process that holds it.

    Yields:
        Whether it is held. Not where the file system knows no locks or the other process took too long: the block then
        has to work under a name of its own.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(pathlib.Path(folder, "weights")) as alone:
        ...     alone
        True
    """
    lock = path.with_name(f".{path.name}.lock")
    deadline = time.monotonic() + patience
    waiting = False
    while True:
        with lock.open("ab") as file:
            state = _state(file, lock)
            if state != "busy" or time.monotonic() >= deadline:
                try:
                    yield state == "held"
                finally:
                    if state == "held":
                        with contextlib.suppress(OSError):  # Windows removes no open file
                            lock.unlink()
                return
        if not waiting:
            print(f"waiting for another process that writes {path.name}", file=sys.stderr)
            waiting = True
        time.sleep(PAUSE)


def _state(file: IO[bytes], lock: Path) -> str:
    """Tries once: `"held"`, `"busy"`, or `"none"` where there are no locks."""
    try:
        _claim(file)
    except OSError as error:
        return "busy" if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) else "none"
    try:  # its holder may have removed it between our opening and our claim: then it guards nothing
        return "held" if os.path.samestat(os.fstat(file.fileno()), lock.stat()) else "busy"
    except FileNotFoundError:
        return "busy"
