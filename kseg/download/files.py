"""Single files: from the first server that has the right one, into the cache."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from kseg.download.lock import locked
from kseg.download.transfer import TransferError, download, home, told


def fetch(
    url: str | Sequence[str], *, sha256: str, size: int | None = None, folder: str = "weights", name: str | None = None
) -> Path:
    """Downloads one file into a folder of `home()`, verified, unless it is there already.

    A download that broke off goes on at the next call if `sha256` is known. Of several processes one downloads, the
    others wait for it.

    Args:
        url: The file, or several addresses of it, tried in this order.
        sha256: Its SHA-256, in hexadecimal digits, or how that begins (PyTorch's addresses hold the first eight); empty
            where nobody knows it: then whatever comes whole, in one piece, is kept.
        size: Its bytes, where they are known.
        folder: The name of the folder in `home()`.
        name: The name of the file there; `None` takes the one in the address.

    Returns:
        The path of the file.

    Raises:
        TransferError: If the servers or the network fail, or none has the file that is expected.
        OSError: If the disk is full or the folder cannot be written. In no case is there a wrong file afterwards.
    """
    urls = [url] if isinstance(url, str) else list(url)
    path = home() / folder / (name or PurePosixPath(urls[0]).name)
    if is_whole(path, sha256, size):
        return path
    with writing(path) as alone:
        if not (alone and is_whole(path, sha256, size)):  # else another process was quicker
            _first(urls, path, sha256, size, alone=alone)
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[bool]:
    """Makes a file's folder and holds the file's lock while the block writes it.

    Args:
        path: The file. Another process may have written it meanwhile: look again inside.

    Yields:
        Whether the lock is held, as `locked` does.

    Raises:
        OSError: The disk is full or the folder cannot be written: in one line, with what to do.
    """
    with told(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path) as alone:
            yield alone


def _first(urls: list[str], path: Path, sha256: str, size: int | None, *, alone: bool) -> None:
    """Fetches from the first address that works.

    The part is named after the file's sum: it is never taken for one of another file. Without a sum nobody would notice
    two halves of different files, so nothing is taken up; without a lock the part belongs to this process.
    """
    own = (sha256[:12] or "new") if alone else secrets.token_hex(6)
    aside = path.with_name(f".{path.name}.{own}")
    part = path.with_name(f"{aside.name}.part") if alone and sha256 else None
    faults = []
    try:
        for url in urls:
            try:
                _verified(url, aside, part, sha256, size).replace(path)
                return
            except TransferError as error:
                faults.append(str(error))
    except OSError:
        if part is not None:  # the disk is full: what came would only be in the way
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise
    finally:
        aside.unlink(missing_ok=True)
    raise TransferError("; ".join(faults))


def _verified(url: str, aside: Path, part: Path | None, sha256: str, size: int | None) -> Path:
    while True:
        resumed = part is not None and part.exists()
        file = download(url, aside, size=size, part=part)
        found = file_sha256(file)
        if found.startswith(sha256.lower()):
            return file
        file.unlink()
        if not resumed:  # else the two halves may not belong together: once more, from the start
            sums = f"SHA-256 {found} instead of {sha256}"
            raise TransferError(f"{url}: the file is not the one expected: {sums}; nothing was kept")


def is_whole(path: Path, sha256: str, size: int | None = None) -> bool:
    """Returns whether a file is there and is the one expected; the arguments are those of `fetch`."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return not sha256 or file_sha256(path).startswith(sha256.lower())


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
