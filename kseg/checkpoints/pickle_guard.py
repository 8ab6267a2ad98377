"""Pickles of tensors, loaded without running any code they hold.

A pickle is a program, so it is first looked through: an instruction or a name that a dictionary of tensors does not
need refuses the file before anything of it runs. The names that are left stand for inert classes of this module, never
for the callables they are named after.
"""

import math
import pickle
import pickletools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

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

EXPANSION = 16
"""How many times the bytes of their storages the tensors may take together: views may overlap, but within reason."""


class Refused(Exception):
    """The file holds something that a dictionary of tensors does not need."""


# What unpickling and slicing damaged bytes may raise.
BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


# A pickle may also set attributes, of classes and functions too, where an object has no `__setstate__` of its own:
# everything a file can reach has one.
class _Sealed:
    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise Refused("it sets attributes")


class _Dictionary(dict):
    """Stands for dict and OrderedDict; their attributes (PyTorch hangs version numbers there) are dropped.

    A tuple as a key could hold itself over and over: its hash takes twice as long with each step of the pickle.
    """

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = ()) -> None:
        for key, value in pairs:
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str | int):
            raise Refused("a dictionary has a key that is neither text nor a whole number")
        super().__setitem__(key, value)

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class Storage(_Sealed):
    """A run of numbers that stands elsewhere in the file.

    Attributes:
        kind: A key of `STORAGES`.
        key: Its name in the file.
        count: Of its numbers.
    """

    kind: str
    key: str
    count: int

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type of its numbers."""
        return np.dtype(STORAGES[self.kind])


class Tensor(_Sealed):
    """A view of a storage. Its constructor takes the arguments of `torch._utils._rebuild_tensor_v2`."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple, *_: object) -> None:
        if not isinstance(storage, Storage) or len(shape) != len(strides):
            raise Refused("a tensor without a storage or with strides that do not match its shape")
        if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
            raise Refused("a tensor whose offset, shape or strides are not whole numbers from 0 on")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Cuts this tensor out of the numbers of its storage."""
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        # The second test bounds the memory: strides of 0 could ask for any number of elements.
        if (0 not in self.shape and last >= numbers.size) or math.prod(self.shape) > numbers.size:
            raise Refused(f"a tensor of shape {self.shape} in a storage of {numbers.size} elements")
        if 0 in self.shape:
            view = np.empty(self.shape, numbers.dtype)
        else:
            strides = [stride * numbers.itemsize for stride in self.strides]
            view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)
        if self.storage.kind == "BFloat16Storage":
            return widened(view)
        return view.copy()


def widened(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16 numbers, given as their bits (uint16), as float32.

    Example:
        >>> widened(np.array([0x3F80, 0xC000], "<u2")).tolist()
        [1.0, -2.0]
    """
    return (bits.astype("<u4") << 16).view("<f4")


class _Parameter(_Sealed):
    """Stands for `torch._utils._rebuild_parameter`: the tensor itself."""

    def __new__(cls, tensor: Tensor, *_: object) -> Any:
        return tensor


# The whole allow-list: everything that a file may name, and what it gets instead.
_NAMES: dict[str, Any] = {
    "collections OrderedDict": _Dictionary,
    "torch._utils _rebuild_tensor_v2": Tensor,
    "torch._utils _rebuild_parameter": _Parameter,
    **{f"torch {kind}": kind for kind in STORAGES},
}


class _Unpickler(pickle._Unpickler):
    # The one written in Python, whose dictionaries can be replaced by ours; looking a pickle through takes as long.
    dispatch = dict(pickle._Unpickler.dispatch)

    def load_empty_dictionary(self: Any) -> None:
        self.append(_Dictionary())

    def load_dict(self: Any) -> None:
        items = self.pop_mark()
        self.append(_Dictionary(zip(items[::2], items[1::2], strict=True)))

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.DICT[0]] = load_dict

    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in _NAMES:
            raise Refused(f"it asks for {module}.{name}")
        return _NAMES[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> Storage:
        # Before anything hashes or shows them.
        if not isinstance(pid, tuple) or not all(part is None or isinstance(part, str | int) for part in pid):
            raise Refused("a reference whose parts are neither text nor number")
        tag, kind, key, _, count, *view = pid  # only the legacy format has the last one
        if tag != "storage" or kind not in STORAGES or view not in ([], [None]) or type(count) is not int or count < 0:
            raise Refused(f"a reference {pid!r}")
        return Storage(kind, str(key), count)


def unpickle(file: BinaryIO, size: int) -> Any:
    r"""Loads the pickle that begins here and leaves the file behind it.

    Args:
        file: Where to read.
        size: The size of the whole file: no pickle needs more objects than that.

    Returns:
        Plain containers, numbers, strings and `Tensor`.

    Raises:
        Refused: The pickle asks for anything else; none of it has run then.

    Example:
        >>> import io
        >>> unpickle(io.BytesIO(b"(lp0\nI7\na."), 11)
        [7]
        >>> unpickle(io.BytesIO(b"cos\nsystem\n(S'true'\ntR."), 24)
        Traceback (most recent call last):
        ...
        kseg.checkpoints.pickle_guard.Refused: it asks for os.system
    """
    start = file.tell()
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in OPCODES:
            raise Refused(f"it uses the pickle instruction {opcode.name}")
        if opcode.name == "GLOBAL" and argument not in _NAMES:
            raise Refused(f"it asks for {str(argument).replace(' ', '.')}")
        if opcode.name.endswith("PUT") and int(argument or 0) > size:
            raise Refused("it numbers an object beyond the size of the file")
    file.seek(start)
    return _Unpickler(file).load()


def tensors(content: object, size: int) -> dict[str, Tensor]:
    """Finds the tensors in what a pickle held.

    Args:
        content: Containers in containers.
        size: The size of the whole file: no container needs more entries than that, unless it holds itself.

    Returns:
        `{name: tensor}`, the keys on the way joined by dots.

    Raises:
        Refused: Containers that hold themselves or each other over and over; a storage declared in two ways.
    """
    found: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    for visited, (name, value) in enumerate(_entries(content, "")):
        if visited > size:
            raise Refused("its containers hold each other over and over")
        if isinstance(value, Tensor):
            if storages.setdefault(value.storage.key, value.storage) != value.storage:
                raise Refused(f"storage {value.storage.key!r} is declared twice, differently")
            found[name] = value
    return found


def _entries(value: object, name: str) -> Iterator[tuple[str, object]]:
    yield name, value
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    for key, item in pairs:
        yield from _entries(item, f"{name}.{key}" if name else str(key))


def arrays(found: Mapping[str, Tensor], numbers: Callable[[Storage], np.ndarray]) -> dict[str, np.ndarray]:
    """Cuts tensors out of their storages.

    Args:
        found: `{name: tensor}`.
        numbers: Gives the numbers of a storage.

    Returns:
        `{name: array}`; bfloat16 arrives as float32, every other type as it is.

    Raises:
        Refused: A tensor lies outside its storage, or the tensors together are far larger than their storages.
    """
    wanted = sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in found.values())
    storages = {tensor.storage for tensor in found.values()}
    if wanted > EXPANSION * sum(storage.count * storage.dtype.itemsize for storage in storages):
        raise Refused(f"its tensors take {wanted} bytes, far more than their storages")
    return {name: tensor.array(numbers(tensor.storage)) for name, tensor in found.items()}
