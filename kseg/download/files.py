"""Single files in the cache: downloaded once, verified, locked while they are written."""

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from kseg.download.transfer import TransferError, download


def home() -> Path:
    """Returns the folder of downloads: the environment variable `KSEG_HOME`, or `~/.cache/kseg`.

    Raises:
        FileNotFoundError: If the user has no home folder.
    """
    named = os.environ.get("KSEG_HOME") or "~/.cache/kseg"
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise FileNotFoundError(f"there is no home folder for {named}: set KSEG_HOME to a folder") from None


def fetch(
    url: str | Sequence[str], *, sha256: str, size: int | None = None, folder: str = "weights", name: str | None = None
) -> Path:
    """Downloads one file into a folder of `home()` and verifies it, unless it is already there.

    If several processes ask for the same file, one downloads it and the others wait.

    Args:
        url: Address of the file, or several addresses of it, tried in this order: `https://...`, `file://...`, or
            `hf://owner/repository/path` on the Hugging Face hub, with the token of the user. The environment variable
            `HF_ENDPOINT` selects another hub.
        sha256: SHA-256 of the file in hexadecimal digits, or its first digits (PyTorch's addresses contain eight). An
            empty string accepts any complete file.
        size: Size of the file in bytes, if known.
        folder: Name of the folder in `home()`.
        name: Name of the file in that folder; None takes it from the first address.

    Returns:
        Path of the file.

    Raises:
        TransferError: If the servers or the network fail, or no server has the expected file.
        OSError: If the disk is full or the folder cannot be written. A wrong file never remains.
    """
    urls = [url] if isinstance(url, str) else list(url)
    path = home() / folder / (name or PurePosixPath(urls[0]).name)
    if is_whole(path, sha256, size):
        return path
    with writing(path):
        part = path.with_name(f".{path.name}.part")
        failures: list[str] = []
        try:
            while not is_whole(path, sha256, size):  # another process may have downloaded it
                if len(failures) == len(urls):
                    raise TransferError("; ".join(failures))
                try:
                    _verified(urls[len(failures)], part, sha256, size).replace(path)
                except TransferError as error:
                    failures.append(str(error))
        finally:
            part.unlink(missing_ok=True)
    return path


def sha256_in_name(url: str) -> str:
    """Returns the digits of the SHA-256 with which the names of PyTorch's weight files end, see `fetch`.

    Example:
        >>> sha256_in_name("https://download.pytorch.org/models/resnet18-f37072fd.pth")
        'f37072fd'
    """
    return PurePosixPath(url).stem.rpartition("-")[2]


@contextlib.contextmanager
def locked(path: Path, patience: float = 0) -> Iterator[None]:
    """Holds the lock of a file, the hidden file `.{name}.lock` beside it, which is removed when the block ends.

    The system releases the lock if the process is killed. Who waits for it longer than `patience` seconds is told so.
    """
    import filelock

    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        held = lock.acquire(timeout=patience)
    except filelock.Timeout:
        print(f"waiting for another process that writes {path.name}", file=sys.stderr)
        held = lock.acquire()
    with held:
        try:
            yield
        finally:  # who waits for the removed file notices that it is gone and tries again
            with contextlib.suppress(OSError):  # Windows does not remove open files
                Path(lock.lock_file).unlink()


@contextlib.contextmanager
def writing(path: Path, patience: float = 0) -> Iterator[None]:
    """Creates the folder of a file in the cache and holds the lock of the file while the block writes it.

    Check inside the block whether another process has written it. `patience` is that of `locked`.

    Raises:
        OSError: If the disk is full or the folder cannot be written, in one line with a cure.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, patience):
            yield
    except TransferError:
        raise
    except OSError as error:
        cure = "nothing was kept, {}set KSEG_HOME to another folder"
        if error.errno == errno.ENOSPC:
            cure = cure.format("free some or ")
            raise OSError(error.errno, f"the disk is full: {path.parent} has no room; {cure}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            reason, cure = os.strerror(error.errno), cure.format("")
            raise OSError(error.errno, f"cannot write to {path.parent} ({reason}); {cure}") from error
        raise


def _verified(url: str, path: Path, sha256: str, size: int | None) -> Path:
    """Downloads an address into a file and returns its path if it is the expected file."""
    download(url, path)
    if not is_whole(path, sha256, size):
        found = f"{path.stat().st_size} bytes with SHA-256 {file_sha256(path)}"
        expected = f"{'' if size is None else f'{size} bytes with '}SHA-256 {sha256 or 'unknown'}"
        raise TransferError(f"{url}: the file is not the one expected: {found} instead of {expected}; nothing was kept")
    return path


def is_whole(path: Path, sha256: str, size: int | None = None) -> bool:
    """Returns whether a file exists and is the expected one; see `fetch` for the arguments."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return not sha256 or file_sha256(path).startswith(sha256.lower())


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
