"""Fetch, verify, unpack: a data set or a weight file is there whole or not at all."""

import errno
import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte


def home() -> Path:
    """Returns the folder of downloads: the environment variable `KSEG_HOME`, or `~/.cache/kseg`."""
    return Path(os.environ.get("KSEG_HOME") or "~/.cache/kseg").expanduser()


def find(name: str, root: str | os.PathLike[str] | None, *, marker: str) -> Path | None:
    """Looks for the folder of a data set.

    Args:
        name: The name of the folder.
        root: Where to look, and nowhere else; `None` looks into `$KSEG_DATA`, then into `home()`.
        marker: An entry that tells the data set's own folder from the one above it.

    Returns:
        The folder, or `None` if `root` is `None` and there is none.

    Raises:
        FileNotFoundError: If `root` is given and is not, and does not hold, the folder.
    """
    if root is not None:
        folders = [Path(root).expanduser() / name, Path(root).expanduser()]
    else:
        data = os.environ.get("KSEG_DATA")
        folders = [Path(place).expanduser() / name for place in (data, home()) if place]
    for folder in folders:
        if (folder / marker).exists():
            return folder
    if root is not None:
        raise FileNotFoundError(f"{name}: there is no {folders[0]} with {marker} inside")
    return None


def folder_sha256(folder: Path) -> str:
    """Returns the SHA-256 of the lines `sha256  relative/path` of all files below a folder, sorted by path."""
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        digest.update(f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n".encode())
    return digest.hexdigest()


def fetch_folder(url: str, destination: Path, *, member: str, sha256: str) -> Path:
    """Downloads a zip archive and puts one of its folders in place, verified, in one step.

    Everything happens in a temporary folder beside `destination`, which is removed whatever comes.

    Args:
        url: The archive.
        destination: The folder to create.
        member: The folder below the archive's top folder.
        sha256: What `folder_sha256` must give.

    Returns:
        `destination`.

    Raises:
        OSError: If the server, the network or the disk fails, or the files are not those expected; nothing is left
            behind.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as aside:
            archive = download(url, Path(aside) / "archive.zip")
            folder = _unpack(archive, Path(aside) / "folder", member)
            found = folder_sha256(folder)
            if found != sha256:
                raise OSError(
                    f"{url}: the files are not those expected: SHA-256 {found} instead of {sha256}; nothing was kept"
                )
            if not destination.exists():  # another process may have been quicker
                folder.rename(destination)
    except zipfile.BadZipFile as error:
        raise OSError(f"{url}: the archive is damaged ({error}); nothing was kept, try again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(destination.parent) from error
        raise
    return destination


def fetch(url: str, *, sha256: str, folder: str = "weights") -> Path:
    """Downloads one file into a folder of `home()`, verified, unless it is there already.

    Args:
        url: The file.
        sha256: Its SHA-256, in hexadecimal digits, or how that begins (PyTorch's addresses hold the first eight).
        folder: The name of the folder in `home()`.

    Returns:
        The path of the file, named as in the address.

    Raises:
        OSError: If the server, the network or the disk fails, or the file is not the one expected; nothing is left
            behind.
    """
    path = home() / folder / PurePosixPath(url).name
    if path.is_file() and file_sha256(path).startswith(sha256.lower()):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as aside:
            file = download(url, Path(aside) / path.name)
            found = file_sha256(file)
            if not found.startswith(sha256.lower()):
                raise OSError(
                    f"{url}: the file is not the one expected: SHA-256 {found} instead of {sha256}...; nothing was kept"
                )
            file.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(path.parent) from error
        raise
    return path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _full(folder: Path) -> OSError:
    message = f"the disk is full: {folder} has no room; nothing was kept, free some or set KSEG_HOME"
    return OSError(errno.ENOSPC, message)


def download(url: str, path: Path) -> Path:
    """Downloads one file, showing progress; a file cut short is removed.

    Args:
        url: What to fetch.
        path: The file to create.

    Returns:
        `path`.

    Raises:
        OSError: If the server cannot be reached, refuses, or sends less than it announced.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    part = path.with_name(path.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, part.open("wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = 0
            with Progress(*columns, transient=True) as progress:
                task = progress.add_task(f"downloading {PurePosixPath(url).name}", total=total)
                while chunk := response.read(CHUNK):
                    done += file.write(chunk)
                    progress.update(task, completed=done)
            if total is not None and done != total:
                raise OSError(
                    f"{url}: the download broke off after {done} of {total} bytes; nothing was kept, try again"
                )
        part.replace(path)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise OSError(
            f"{url}: the download failed ({getattr(error, 'reason', error)}); nothing was kept, try again"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _unpack(archive: Path, folder: Path, member: str) -> Path:
    """Extracts `*/member/...` of a zip; names that lead out of the folder are refused."""
    with zipfile.ZipFile(archive) as unpacked:
        for info in unpacked.infolist():
            parts = PurePosixPath(info.filename).parts
            if info.is_dir() or len(parts) < 3 or parts[1] != member:
                continue
            if ".." in parts:
                raise OSError(f"{archive.name}: refused, it holds a path that leads outside: {info.filename}")
            target = folder.joinpath(*parts[2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with unpacked.open(info) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    if not folder.is_dir():
        raise OSError(f"{archive.name}: there is no folder {member} in the archive; nothing was kept")
    return folder
