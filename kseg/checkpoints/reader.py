"""PyTorch's legacy weight files (before 1.6), read with NumPy alone and without running any code they hold.

Such a file is four pickles (magic number, protocol, system, the object), a fifth with the keys of the storages, and
then their bytes. A pickle is a program, so each is first looked through: an instruction or a name that a dictionary of
tensors does not need refuses the file before anything of it runs. The names that are left stand for inert classes of
this module, never for the callables they are named after.
"""

import io
import math
import os
import pickle
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

# Storage class -> little-endian NumPy type. NumPy has no bfloat16: its bits are the upper half of a float32.
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 BINFLOAT
    SHORT_BINSTRING BINSTRING SHORT_BINUNICODE BINUNICODE EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL REDUCE BUILD
    BINPERSID
    """.split()  # noqa: SIM905 - forty words read better without their quotes
)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a legacy PyTorch file.

    Args:
        path: A file that `torch.save` wrote in the format from before PyTorch 1.6, holding a dictionary of tensors.
            Nested dictionaries and lists are flattened, their keys joined by dots; anything but tensors is left out.

    Returns:
        Name -> array, in the order of the file. bfloat16 arrives as float32, every other type as it is.

    Raises:
        ValueError: The file is truncated, of another format, or asks for anything but tensors and plain containers.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "weights.pth")
        >>> _ = file.write_bytes(b"not a checkpoint")
        >>> read(file)
        Traceback (most recent call last):
        ...
        ValueError: weights.pth is no legacy PyTorch file (wrong magic number).
    """
    path = Path(path)
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise ValueError(f"{path.name} is in PyTorch's zip format; only the legacy format is read.")
        file.seek(0)
        try:
            magic = _unpickle(file)
        except (_Refused, *_BROKEN):
            magic = None
        if magic != MAGIC:
            raise ValueError(f"{path.name} is no legacy PyTorch file (wrong magic number).")
        try:
            return _read_body(file)
        except _Refused as error:
            raise ValueError(f"{path.name} was refused: {error}.") from None
        except _BROKEN as error:
            raise ValueError(f"{path.name} is truncated or damaged ({str(error) or type(error).__name__}).") from None


def _read_body(file: io.BufferedReader) -> dict[str, np.ndarray]:
    if (protocol := _unpickle(file)) != PROTOCOL:
        raise _Refused(f"protocol {protocol} where {PROTOCOL} is expected")
    if _unpickle(file).get("little_endian") is not True:
        raise _Refused("it was written on a big-endian machine")
    content = _unpickle(file)
    tensors = dict(_tensors(content))
    declared: dict[str, _Storage] = {}
    for tensor in tensors.values():
        if declared.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise _Refused(f"storage {tensor.storage.key!r} is declared twice, differently")
    storages = {}
    for key in _unpickle(file):
        count = int.from_bytes(_take(file, 8), "little")
        if key not in declared:
            raise _Refused(f"storage {key!r} belongs to no tensor of a plain container")
        if count != declared[key].count:
            raise _Refused(f"storage {key!r} has {count} elements where {declared[key].count} are declared")
        dtype = np.dtype(STORAGES[declared[key].kind])
        storages[key] = np.frombuffer(_take(file, count * dtype.itemsize), dtype)
    return {name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()}


class _Refused(Exception):
    """The file holds something that a dictionary of tensors does not need."""


# What unpickling and slicing damaged bytes may raise.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)


# A pickle may also set attributes, of classes and functions too, where an object has no `__setstate__` of its own:
# everything a file can reach has one.
class _Sealed:
    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise _Refused("it sets attributes")


class _Dictionary(dict):
    """Stands for OrderedDict; its attributes (PyTorch hangs version numbers there) are dropped."""

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class _Storage(_Sealed):
    """A run of numbers that comes later in the file."""

    kind: str
    key: str
    count: int


class _Tensor(_Sealed):
    """A view of a storage. Its constructor takes the arguments of `torch._utils._rebuild_tensor_v2`."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: object) -> None:
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise _Refused("a tensor without a storage or with strides that do not match its shape")
        if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
            raise _Refused(f"a tensor with offset {offset}, shape {shape} and strides {strides}")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Cuts this tensor out of the numbers of its storage."""
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        # The second test bounds the memory: strides of 0 could ask for any number of elements.
        if (0 not in self.shape and last >= numbers.size) or math.prod(self.shape) > numbers.size:
            raise _Refused(f"a tensor of shape {self.shape} in a storage of {numbers.size} elements")
        if 0 in self.shape:
            view = np.empty(self.shape, numbers.dtype)
        else:
            strides = [stride * numbers.itemsize for stride in self.strides]
            view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)
        if self.storage.kind == "BFloat16Storage":
            return (view.astype("<u4") << 16).view("<f4")
        return view.copy()


class _Parameter(_Sealed):
    """Stands for `torch._utils._rebuild_parameter`: the tensor itself."""

    def __new__(cls, tensor: _Tensor, *_: object) -> Any:
        return tensor


# The whole allow-list: everything that a file may name, and what it gets instead.
_NAMES: dict[str, Any] = {
    "collections OrderedDict": _Dictionary,
    "torch._utils _rebuild_tensor_v2": _Tensor,
    "torch._utils _rebuild_parameter": _Parameter,
    **{f"torch {kind}": kind for kind in STORAGES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in _NAMES:
            raise _Refused(f"it asks for {module}.{name}")
        return _NAMES[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, count, view = pid
        if tag != "storage" or kind not in STORAGES or view is not None or type(count) is not int or count < 0:
            raise _Refused(f"a reference {pid!r}")
        return _Storage(kind, str(key), count)


def _unpickle(file: io.BufferedReader) -> Any:
    """Loads the pickle that begins here and leaves the file behind it."""
    start, size = file.tell(), os.fstat(file.fileno()).st_size
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in OPCODES:
            raise _Refused(f"it uses the pickle instruction {opcode.name}")
        if opcode.name == "GLOBAL" and argument not in _NAMES:
            raise _Refused(f"it asks for {str(argument).replace(' ', '.')}")
        if opcode.name.endswith("PUT") and int(argument or 0) > size:
            raise _Refused("it numbers an object beyond the size of the file")
    file.seek(start)
    return _Unpickler(file).load()


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, _Tensor]]:
    if isinstance(value, _Tensor):
        yield name, value
        return
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    for key, item in pairs:
        yield from _tensors(item, f"{name}.{key}" if name else str(key))


def _take(file: io.BufferedReader, count: int) -> bytes:
    data = file.read(min(count, os.fstat(file.fileno()).st_size))
    if len(data) != count:
        raise EOFError(f"{count} bytes expected, {len(data)} left")
    return data
