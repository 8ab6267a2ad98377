"""Shards of a bucket on the disk: each is downloaded once and verified, and all of them have a limit."""

import contextlib
import os
from pathlib import Path

from kseg import download
from kseg.data.shards.index import Shard
from kseg.data.shards.places import Place

CACHE_LIMIT = 64 * 2**30
"""Bytes of downloaded shards that the cache may hold."""
SUFFIX = ".array_record"
PATIENCE = 60
"""Seconds of waiting for other downloads after which a message says so."""


def folder() -> Path:
    """Returns the folder of downloaded shards, `shards` in `KSEG_HOME`."""
    return download.home() / "shards"


def local(place: Place, shard: Shard, limit: int) -> Path:
    """Returns the path of a shard on the disk, downloaded into the cache if it is remote.

    One shard is downloaded at a time by all threads and processes, so that all of them keep to the limit. The file may
    make room for another as soon as this returns, unless it is open.

    Args:
        place: The file.
        shard: Its size and SHA-256, with which a download is compared.
        limit: Bytes that the cache may hold: the shards that were not opened for longest make room.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it has another size or SHA-256.
    """
    if not place.is_remote:
        if not place.is_file():
            raise FileNotFoundError(f"{place} is missing: put it back, or pack the data set again")
        _compare(place, shard, place.path)
        return place.path
    path = folder() / f"{shard.sha256[:32]}{SUFFIX}"
    if not _is_there(path, shard):
        with download.writing(folder() / "shards", PATIENCE):
            if not _is_there(path, shard):  # another thread or process may have downloaded it
                _make_room(limit - shard.bytes)
                part = path.with_name(f".{path.name}.part")
                try:
                    place.download(part)
                    _compare(place, shard, part)
                    if download.file_sha256(part) != shard.sha256:
                        raise ValueError(
                            f"{place} has another SHA-256 than its index says: upload it again; nothing was kept"
                        )
                    part.replace(path)
                finally:
                    part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the cache may be that of another user
        os.utime(path)
    return path


def _compare(place: Place, shard: Shard, path: Path) -> None:
    if (found := path.stat().st_size) != shard.bytes:
        raise ValueError(
            f"{place} has {found:,} bytes, {shard.bytes:,} are expected: it is truncated or of another data set; "
            "copy it again, or pack the data set again"
        )


def _is_there(path: Path, shard: Shard) -> bool:
    try:
        return path.is_file() and path.stat().st_size == shard.bytes
    except FileNotFoundError:  # another process has just made room
        return False


def _make_room(limit: int) -> None:
    """Removes downloaded shards until they have at most so many bytes, the oldest first."""
    found = []
    for path in folder().glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):  # removed by hand
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        with contextlib.suppress(OSError):  # Windows does not remove open files
            path.unlink(missing_ok=True)  # a reader that has it open keeps it
            total -= size
