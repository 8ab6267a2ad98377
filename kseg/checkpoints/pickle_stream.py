"""PyTorch's legacy format, from before version 1.6.

Such a file consists of four pickles (magic number, protocol, system, the object), a fifth one with the keys of the
storages, and the bytes of the storages.
"""

import os
from pathlib import Path

import numpy as np

from kseg.checkpoints.pickle_guard import Refused, tensors, unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
BEGIN = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
"""The first pickle, after two bytes for its version."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads a file in the legacy format; see `kseg.checkpoints.reader.read`."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _, protocol, system, content = (unpickle(file) for _ in range(4))
        if protocol != PROTOCOL:
            raise Refused(f"its protocol is not {PROTOCOL}")
        if system.get("little_endian") is not True:
            raise Refused("it was written on a big-endian machine")
        found = tensors(content, size)
        declared = {tensor.storage.key: tensor.storage for tensor in found.values()}
        numbers = {}
        for key in unpickle(file):
            if not isinstance(key, str) or key not in declared:
                raise Refused("a storage belongs to no tensor of a plain container")
            count = int.from_bytes(file.read(8), "little")
            if count != declared[key].length:
                raise Refused(f"storage {key!r} has {count} elements where {declared[key].length} are declared")
            data = file.read(min(declared[key].size, size))
            numbers[declared[key]] = np.frombuffer(data, declared[key].dtype, count)
    return {name: tensor.array(numbers[tensor.storage]) for name, tensor in found.items()}
