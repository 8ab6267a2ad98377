"""Finds the file of weights: in an installed package, in the checkout, in the cache, or on a server."""

import difflib
import hashlib
import importlib.metadata
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterator

from kseg import download
from kseg.pretrained.file import describe
from kseg.pretrained.release import RELEASES, Release

SERVERS = ""
"""Addresses of servers with released weights, separated by spaces and tried in order; there is no public one yet. The
environment variable `KSEG_WEIGHTS_URL` replaces them."""

CHECKOUT = pathlib.Path(__file__).parents[2] / "zoo"
"""The folder of released weights in a checkout; an installed wheel does not have it."""

HUB_FILE = "model.safetensors"
"""The weight file of a repository on the hub."""

PACKAGES = "kseg.weights"
"""The group of entry points by which packages such as kseg-weights name their folders of released weights."""


def servers() -> list[str]:
    """Returns the addresses of the servers with released weights.

    The environment variable `KSEG_WEIGHTS_URL` lists them, separated by spaces or commas: `https://...`, a folder, or
    `hf://owner/repository` for a model repository on the Hugging Face hub.
    """
    named = os.environ.get("KSEG_WEIGHTS_URL") or SERVERS
    return [_with_scheme(server).rstrip("/") for server in re.split(r"[\s,]+", named) if server]


def _with_scheme(server: str) -> str:
    return server if "://" in server else pathlib.Path(os.path.abspath(os.path.expanduser(server))).as_uri()


def release_of(name: str) -> Release:
    """Looks up released weights by their full name; a ValueError names similar ones."""
    if name in RELEASES:
        return RELEASES[name]
    if found := [release.name for release in RELEASES.values() if release.dataset == name]:
        raise ValueError(f"{name!r} is a data set: name the weights, of which there are {', '.join(found)}")
    raise ValueError(_unknown(name, list(RELEASES)))


def named(weights: str | os.PathLike) -> list[Release]:
    """Lists the released weights that a name can stand for: none for a file or an address, several for a data set.

    To use a file that has the name of a data set, write it with a folder: `./camvid`.
    """
    if not isinstance(weights, str):
        return []
    if weights in RELEASES:
        return [RELEASES[weights]]
    if found := [release for release in RELEASES.values() if release.dataset == weights]:
        return found
    if os.path.exists(weights) or os.path.splitext(weights)[1] or "/" in weights or os.sep in weights:
        return []
    raise ValueError(_unknown(weights, [*RELEASES, *{release.dataset: None for release in RELEASES.values()}]))


def _unknown(name: str, known: list[str]) -> str:
    if near := difflib.get_close_matches(name, known, n=3, cutoff=0.5):
        return f"no weights are called {name!r}: did you mean {' or '.join(near)}?"
    return f"no weights are called {name!r}: there are {', '.join(RELEASES)}"


def locate(weights: str | os.PathLike) -> str | os.PathLike:
    """Returns the file of weights, downloaded if necessary.

    Args:
        weights: A file, which is returned unchanged; the run folder of a training; an address; or the full name of
            released weights.

    Returns:
        The path of the file.

    Raises:
        ValueError: If no weights have that name.
        FileNotFoundError: If the run folder has no weights yet.
        OSError: If they are not on this machine and cannot be downloaded; the message says which file to put where.
    """
    if isinstance(weights, str) and "://" in weights:
        return _fetch_address(weights)
    if named(weights):
        return fetch(release_of(os.fspath(weights)))
    folder = pathlib.Path(weights)
    if (best := folder / "best.safetensors").is_file():
        return best
    if any((folder / name).is_file() for name in ("recipe.json", "checkpoint.safetensors")):
        raise FileNotFoundError(f"the run in {weights} has no weights yet: train it with the same `kseg train` command")
    return weights


def _fetch_address(url: str) -> pathlib.Path:
    """Downloads a file that is not in the table and describes itself; other files are not kept in kseg's cache."""
    if url.endswith((".keras", ".h5", ".hdf5")):
        raise ValueError(f"{url} is a whole Keras model: download it, and load the file with kseg.zoo.load")
    if url.startswith("hf://"):
        repository, revision, file = on_the_hub(url)
        path = download.fetch_from_hub(repository, file or HUB_FILE, revision)
        try:
            describe(path)
        except ValueError as error:
            raise ValueError(f"{url} is not a weight file of kseg: {error}") from None
        return path
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]  # many addresses end with the same file name
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name
    path = download.fetch(url, sha256="", folder=f"weights/{digest}", name=name)
    try:
        describe(path)
    except ValueError as error:
        path.unlink(missing_ok=True)  # another process may have removed it
        raise ValueError(f"{url} is not a weight file of kseg and was not kept: {error}") from None
    return path


def on_the_hub(address: str) -> tuple[str, str | None, str]:
    """Splits an address on the hub, `hf://owner/name`, `hf://owner/name@revision` or with `/file` behind either.

    Returns:
        The repository, `owner/name`; the revision, None if there is none; the file, `""` if there is none.

    Raises:
        ValueError: If it is no such address.

    Example:
        >>> on_the_hub("hf://someone/leaves@v1/old/model.safetensors")
        ('someone/leaves', 'v1', 'old/model.safetensors')
    """
    if found := re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([^/@]+))?(?:/(.*))?", address):
        return found[1], found[2], found[3] or ""
    raise ValueError(f"{address} is no address on the hub: write hf://owner/name, or hf://owner/name/file")


def plainest(releases: list[Release]) -> list[Release]:
    """Selects the weights whose name consists of builder, encoder and data set only; all if none has such a name."""
    return [one for one in releases if one.name.endswith(f"-{one.dataset}")] or releases


def find(release: Release) -> pathlib.Path | None:
    """Finds released weights on this machine, with the right SHA-256, in the first of its `places`, or None."""
    for place in _places(release):
        if download.is_whole(place, release.sha256, release.bytes):
            return place
    return None


def _places(release: Release) -> Iterator[pathlib.Path]:
    for point in importlib.metadata.entry_points(group=PACKAGES):
        yield pathlib.Path(point.load(), release.name, release.file)
    yield CHECKOUT / release.name / release.file
    yield _cache(release)  # last, because the others work without a home folder


def _cache(release: Release) -> pathlib.Path:
    return download.home() / "weights" / release.name / release.file


def places(release: Release) -> list[pathlib.Path]:
    """Lists the places of released weights: in installed packages, in the checkout's folder `zoo/`, in the cache."""
    return list(_places(release))


def fetch(release: Release) -> pathlib.Path:
    """Returns the file of released weights; downloads it into the cache if it is not on this machine.

    Args:
        release: The entry of the table.

    Returns:
        A file with the right SHA-256.

    Raises:
        FileNotFoundError: If the file is not on this machine and no server is known.
        OSError: If the download failed; the message says which file to put where.
    """
    if (path := find(release)) is not None:
        return path
    place = _cache(release)
    other = f" (the file there is a different one: {place.stat().st_size:,} bytes)" if place.is_file() else ""
    file = f"put {release.file}, {release.bytes:,} bytes with SHA-256 {release.sha256}, at"
    cure = f"{file} {place}{other}"
    urls = [f"{server}/{release.name}/{release.file}" for server in servers()]
    if not urls:
        raise FileNotFoundError(
            f"{release.name} is not on this machine and no server is known: install kseg-weights (pip install ./zoo in "
            f"a checkout of kseg), or {cure}, or set KSEG_WEIGHTS_URL to the address of a copy"
        )
    try:
        return download.fetch(urls, sha256=release.sha256, size=release.bytes, folder=f"weights/{release.name}")
    except download.TransferError as error:
        raise download.TransferError(f"{error}; without a download: {cure}") from error
    except OSError as error:  # a full disk, or one that cannot be written
        below = place.relative_to(download.home())
        message = f"{error.strerror or error}; without a download: {file} {below} in KSEG_HOME"
        raise OSError(error.errno, message) from error
