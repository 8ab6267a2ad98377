"""Single files, downloaded by pooch into the cache."""

import contextlib
import errno
import hashlib
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from kseg.progress import Reporter

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte
MEGABYTE = 10**6


class TransferError(OSError):
    """The server or the network failed, not this machine: another address may work."""


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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file while the block runs. The system releases it if the process is killed.

    Args:
        path: The file; the lock is the hidden file `.{name}.lock` beside it, which is removed with the lock.
    """
    import filelock

    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        held = lock.acquire(timeout=0)
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
def writing(path: Path) -> Iterator[None]:
    """Creates the folder of a file in the cache and holds the lock of the file while the block writes it.

    Args:
        path: The file. Check inside the block whether another process has written it.

    Raises:
        OSError: If the disk is full or the folder cannot be written, in one line with a cure.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
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


def download(url: str, path: Path) -> None:
    """Downloads an address into a file, with a progress bar; the caller removes the file if this fails."""
    from pooch import HTTPDownloader
    from requests.exceptions import HTTPError, RequestException

    with contextlib.ExitStack() as stack, path.open("wb") as file:
        if url.startswith("file:"):
            file.write(_local(url))
            return

        def close_in_the_end(response: Any, **_: Any) -> None:  # pooch does not if the disk is full
            stack.callback(response.close)

        options = {"chunk_size": CHUNK, "timeout": TIMEOUT, "hooks": {"response": close_in_the_end}}
        try:
            address, headers = _on_the_hub(url) if url.startswith("hf://") else (url, {})
            bar = _Bar(PurePosixPath(url).name, stack)
            HTTPDownloader(bar, headers=headers, **options)(address, file, None)
        except HTTPError as error:
            raise TransferError(f"{url}: the server answered {str(error).partition(' for url')[0]}") from error
        except (RequestException, ValueError) as error:
            cause = error.args[0] if error.args else error  # requests wraps the errors of urllib3
            reason = getattr(cause, "reason", None) or next(iter(getattr(cause, "args", ())), cause)
            raise TransferError(f"{url}: the download failed ({reason}); nothing was kept, try again") from error


def _on_the_hub(url: str) -> tuple[str, dict[str, str]]:
    """Returns the address of `hf://owner/repository/path` and the headers that contain the token of the user."""
    try:
        from huggingface_hub import get_token, hf_hub_url
    except ImportError as error:
        raise TransferError(f"{url}: huggingface_hub is missing ({error}): pip install 'kseg[hub]'") from error
    owner, _, rest = url.removeprefix("hf://").partition("/")
    repository, _, path = rest.partition("/")
    if not (owner and repository and path):
        raise TransferError(f"{url} is not a file on the hub: write hf://owner/repository/path")
    address = hf_hub_url(f"{owner}/{repository}", path, endpoint=os.environ.get("HF_ENDPOINT"))
    return address, {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}


def _local(url: str) -> bytes:
    try:
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path)).read_bytes()
    except OSError as error:
        raise TransferError(f"{url}: the file cannot be read ({error.strerror})") from error


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


class _Bar:
    """The progress bar that pooch calls: it sets `total` to the length that the server announces, 0 if it does not."""

    total = 0

    def __init__(self, name: str, stack: contextlib.ExitStack):
        self.name, self.stack = name, stack
        self.advance: Callable[[float], None] | None = None

    def update(self, count: int) -> None:
        if self.advance is None:
            task = Reporter().task(f"downloading {self.name}, MB", -(-self.total // MEGABYTE) or None)
            self.advance = self.stack.enter_context(task)
        self.advance(count / MEGABYTE)

    def reset(self) -> None:
        """Pooch resets the bar in the end and fills it, whatever the chunks add up to."""
        self.advance = lambda _: None

    def close(self) -> None:
        pass
