"""PyTorch's legacy format, from before 1.6.

Such a file is four pickles (magic number, protocol, system, the object), a fifth with the keys of the storages, and
then their bytes.
"""

import io
import os
from pathlib import Path

import numpy as np

from kseg.checkpoints.pickle_guard import BROKEN, Refused, arrays, tensors, unpickle

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads a file in the legacy format; arguments, result and errors are those of `kseg.checkpoints.reader.read`."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            magic = unpickle(file, size)
        except (Refused, *BROKEN):
            magic = None
        if magic != MAGIC:
            raise Refused("it begins neither as a PyTorch file nor as safetensors")
        return _body(file, size)


def _body(file: io.BufferedReader, size: int) -> dict[str, np.ndarray]:
    if unpickle(file, size) != PROTOCOL:
        raise Refused(f"its protocol is not {PROTOCOL}")
    if unpickle(file, size).get("little_endian") is not True:
        raise Refused("it was written on a big-endian machine")
    found = tensors(unpickle(file, size), size)
    declared = {tensor.storage.key: tensor.storage for tensor in found.values()}
    storages = {}
    for key in unpickle(file, size):
        count = int.from_bytes(_take(file, 8, size), "little")
        if not isinstance(key, str) or key not in declared:
            raise Refused("a storage belongs to no tensor of a plain container")
        if count != declared[key].count:
            raise Refused(f"storage {key!r} has {count} elements where {declared[key].count} are declared")
        dtype = declared[key].dtype
        storages[key] = np.frombuffer(_take(file, count * dtype.itemsize, size), dtype)
    return arrays(found, lambda storage: storages[storage.key])


def _take(file: io.BufferedReader, count: int, size: int) -> bytes:
    data = file.read(min(count, size))
    if len(data) != count:
        raise EOFError(f"{count} bytes expected, {len(data)} left")
    return data
