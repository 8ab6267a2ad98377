"""PyTorch's zip format, from version 1.6.

Such a file is an uncompressed zip archive with one folder: `data.pkl`, a pickle of the object, and the bytes of each
storage in `data/`.
"""

import functools
import io
import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from kseg.checkpoints.pickle_guard import Refused, Storage, tensors, unpickle


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads a file in the zip format; see `kseg.checkpoints.reader.read`."""
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        entries = _entries(archive, size)
        if "data.pkl" not in entries:
            raise Refused("it is a zip archive without data.pkl, which is not a PyTorch file")
        if "byteorder" in entries and (order := archive.read(entries["byteorder"])) != b"little":
            raise Refused(f"its byte order is {order[:16].decode('latin1')!r}, only 'little' is read")
        found = tensors(unpickle(io.BytesIO(archive.read(entries["data.pkl"]))), size)

        @functools.cache
        def numbers(storage: Storage) -> np.ndarray:
            entry = entries.get(f"data/{storage.key}")
            if entry is None or entry.file_size != storage.size:
                has = f"has {entry.file_size} bytes where {storage.size} are declared" if entry else "is missing"
                raise Refused(f"storage {storage.key!r} {has}")
            return np.frombuffer(archive.read(entry), storage.dtype)

        return {name: tensor.array(numbers(tensor.storage)) for name, tensor in found.items()}


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the files of the archive by their path below its only folder."""
    names = [info.orig_filename.partition("/")[2] for info in archive.infolist()]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise Refused(
            "it is a TorchScript program: in PyTorch, save its tensors, torch.save(torch.jit.load(FILE).state_dict(), "
            '"state.pth")'
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in archive.infolist():
        # `orig_filename` is the name as stored: zipfile cuts names at a NUL.
        name = PurePosixPath(info.orig_filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or "\0" in info.orig_filename:
            raise Refused(f"the name {info.orig_filename!r} leads outside the archive")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise Refused(f"{info.orig_filename} is compressed or encrypted, which torch.save does not do")
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
