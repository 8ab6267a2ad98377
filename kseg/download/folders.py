"""Whole folders: found where data sets lie, or unpacked from a downloaded archive."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from kseg.download.files import file_sha256
from kseg.download.transfer import download, home, told


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
        digest.update(f"{file_sha256(files[name])}  {name}\n".encode())
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
        with told(destination.parent):
            destination.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as aside:
                archive = download(url, Path(aside) / "archive.zip")
                folder = _unpack(archive, Path(aside) / "folder", member)
                found = folder_sha256(folder)
                if found != sha256:
                    raise OSError(
                        f"{url}: the files are not those expected: SHA-256 {found} instead of {sha256}; "
                        "nothing was kept"
                    )
                if not destination.exists():  # another process may have been quicker
                    folder.rename(destination)
    except zipfile.BadZipFile as error:
        raise OSError(f"{url}: the archive is damaged ({error}); nothing was kept, try again") from error
    return destination


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
