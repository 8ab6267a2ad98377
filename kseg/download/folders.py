"""Folders of data sets: found on this machine, or unpacked from a downloaded archive."""

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from kseg.download.files import file_sha256, home, writing
from kseg.download.transfer import download


def find(name: str, root: str | os.PathLike[str] | None, *, marker: str) -> Path | None:
    """Looks for the folder of a data set.

    Args:
        name: Name of the folder.
        root: The only place to look; None looks in `$KSEG_DATA`, then in `home()`.
        marker: An entry that distinguishes the folder of the data set from its parent.

    Returns:
        The folder, or None if `root` is None and there is none.

    Raises:
        FileNotFoundError: If `root` is given and neither is nor contains the folder.
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
    """Downloads a zip archive and moves one of its folders to `destination`, verified, in one step.

    The work is done in a temporary folder beside `destination`, which is removed in any case.

    Args:
        url: Address of the archive.
        destination: The folder to create.
        member: Name of the folder below the archive's top folder.
        sha256: The expected result of `folder_sha256`.

    Returns:
        `destination`.

    Raises:
        OSError: If the server, the network or the disk fails, or the files are not the expected ones.
    """
    with (
        writing(destination),
        tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as aside,
    ):
        if destination.exists():  # another process has downloaded it
            return destination
        archive = Path(aside, "archive.zip")
        download(url, archive)
        try:
            with zipfile.ZipFile(archive) as packed:
                names = [name for name in packed.namelist() if PurePosixPath(name).parts[1:2] == (member,)]
                packed.extractall(aside, names)  # never outside this folder, whatever the names
        except zipfile.BadZipFile as error:
            raise OSError(f"{url}: the archive is damaged ({error}); nothing was kept, try again") from error
        folder = next(Path(aside).glob(f"*/{member}/"), None)
        if folder is None:
            raise OSError(f"{url}: there is no folder {member} in the archive; nothing was kept")
        found = folder_sha256(folder)
        if found != sha256:
            raise OSError(
                f"{url}: the files are not those expected: SHA-256 {found} instead of {sha256}; nothing was kept"
            )
        folder.rename(destination)
    return destination
