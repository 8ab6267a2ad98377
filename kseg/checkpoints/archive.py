"""PyTorch's zip format, from 1.6 on.

Such a file is a zip archive, nothing in it compressed, with one folder: `data.pkl`, a pickle of the object, and the
bytes of each storage in `data/`.
"""

import functools
import io
import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from kseg.checkpoints.pickle_guard import Refused, Storage, arrays, tensors, unpickle


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads a file in the zip format; arguments, result and errors are those of `kseg.checkpoints.reader.read`."""
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        entries = _entries(archive, size)
        if "data.pkl" not in entries:
            raise Refused("it is a zip archive, but no PyTorch file: it has no data.pkl")
        if "byteorder" in entries and (order := archive.read(entries["byteorder"])) != b"little":
            raise Refused(f"its byte order is {order[:16].decode('latin1')!r}, only 'little' is read")
        found = tensors(unpickle(io.BytesIO(archive.read(entries["data.pkl"])), size), size)

        @functools.cache
        def numbers(storage: Storage) -> np.ndarray:
            entry = entries.get(f"data/{storage.key}")
            expected = storage.count * storage.dtype.itemsize
            if entry is None or entry.file_size != expected:
                has = "is missing" if entry is None else f"has {entry.file_size} bytes where {expected} are declared"
                raise Refused(f"storage {storage.key!r} {has}")
            return np.frombuffer(archive.read(entry), storage.dtype)

        return arrays(found, numbers)


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of the archive by their path below its one folder, none of them suspicious."""
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in archive.infolist():
        # `orig_filename` as stored: zipfile cuts names at a NUL.
        name = PurePosixPath(info.orig_filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or "\0" in info.orig_filename:
            raise Refused(f"the name {info.orig_filename!r} leads outside the archive")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise Refused(f"{info.orig_filename} is compressed or encrypted, which PyTorch never does")
        folder, _, inner = info.orig_filename.partition("/")
        folders.add(folder)
        if inner in entries:
            raise Refused(f"{info.orig_filename} is in it twice")
        entries[inner] = info
    if len(folders) > 1:
        raise Refused(f"it has {len(folders)} folders where a PyTorch file has one")
    if sum(info.file_size for info in entries.values()) > size:
        raise Refused("its entries together are larger than the file")
    return entries
