"""One file over the network: with progress, tried again where it broke off, never half in its place."""

import contextlib
import errno
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 5  # of one address, as long as each brings something


class TransferError(OSError):
    """The server or the network failed, not this machine: another address may do."""


class _OutOfRange(Exception):
    pass


def home() -> Path:
    """Returns the folder of downloads: the environment variable `KSEG_HOME`, or `~/.cache/kseg`.

    Raises:
        FileNotFoundError: This user has no home folder.
    """
    named = os.environ.get("KSEG_HOME") or "~/.cache/kseg"
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise FileNotFoundError(f"there is no home folder for {named}: set KSEG_HOME to a folder") from None


def download(url: str, path: Path, *, size: int | None = None, part: Path | None = None) -> Path:
    """Downloads one file, showing progress; after a connection that breaks it tries again.

    Args:
        url: What to fetch.
        path: The file to create.
        size: Its bytes, where they are known.
        part: Where to keep what has come if it breaks off, and to go on from it, the next time too; whoever names it
            verifies the file, which may have changed in between. `None` keeps nothing and starts afresh each time.

    Returns:
        `path`.

    Raises:
        TransferError: If the server cannot be reached, refuses, or sends less or more than announced.
        OSError: If the file cannot be written.
    """
    aside = part or path.with_name(path.name + ".part")
    try:
        for attempt in range(1, ATTEMPTS + 1):
            if part is None:
                aside.unlink(missing_ok=True)  # of the last attempt, or of a process that was killed
            before = _length(aside)
            try:
                _receive(url, aside, size)
                break
            except TransferError as error:
                if attempt == ATTEMPTS or _length(aside) <= before:
                    kept = part is not None and _length(aside) > 0
                    what = "what came is kept for the next try" if kept else "nothing was kept, try again"
                    raise TransferError(f"{url}: {error}; {what}") from error.__cause__
        aside.replace(path)
    finally:
        if part is None:
            aside.unlink(missing_ok=True)
    return path


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, size: int | None) -> None:
    """Fills `part` up from where it ends, or from the start if the server knows no ranges."""
    start = _length(part)
    if size is not None and start == size:
        return
    if size is not None and start > size:
        part.unlink()
        start = 0
    with contextlib.ExitStack() as stack:
        try:
            with _network(start):
                request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
                response = stack.enter_context(urllib.request.urlopen(request, timeout=TIMEOUT))
        except _OutOfRange:  # we have as much as there is, or more: another file
            part.unlink()
            return _receive(url, part, size)
        if response.status != 206:
            start = 0
        elif _first(response) != start:
            part.unlink()
            raise TransferError("the server sent another part of the file than was asked for")
        length = response.headers.get("Content-Length")
        if length and not length.isdecimal():
            raise TransferError(f"the server announced {length!r} bytes")
        total = start + int(length) if length else size
        if size is not None and total != size:
            raise TransferError(f"the server has a file of {total} bytes instead of {size}")
        advance = stack.enter_context(_bar(url, start, total))
        done = start
        with part.open("ab" if start else "wb") as file:
            while True:
                with _network(start):
                    chunk = response.read1(CHUNK)  # what is there: a silent server costs nothing that came before
                if not chunk:
                    break
                done += file.write(chunk)
                file.flush()  # kept even if this process is killed
                advance(done)
                if total is not None and done > total:
                    break
    if total is not None and done > total:
        part.unlink()
        raise TransferError(f"the server sent more than {total} bytes")
    if total is not None and done < total:
        raise TransferError(f"the download broke off after {done} of {total} bytes")


@contextlib.contextmanager
def _network(start: int) -> Iterator[None]:
    """Whatever fails inside is the network's fault or the server's."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            raise _OutOfRange from error
        raise TransferError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no address at all
        raise TransferError(f"the download failed ({getattr(error, 'reason', error)})") from error


def _first(response: Any) -> int | None:
    """The position of a partial answer's first byte."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


@contextlib.contextmanager
def _bar(url: str, start: int, total: int | None) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"downloading {PurePosixPath(url).name}", total=total, completed=start)
        yield lambda done: progress.update(task, completed=done)


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Says in one line what is wrong with the disk, and what to do.

    Args:
        folder: Where the block writes.

    Raises:
        OSError: With the same number.
    """
    try:
        yield
    except TransferError:
        raise
    except OSError as error:
        cure = "nothing was kept, {}set KSEG_HOME to another folder"
        if error.errno == errno.ENOSPC:
            cure = cure.format("free some or ")
            raise OSError(error.errno, f"the disk is full: {folder} has no room; {cure}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            cure = cure.format("")
            raise OSError(error.errno, f"cannot write to {folder} ({os.strerror(error.errno)}); {cure}") from error
        raise
