"""Pickles of tensors, read by an interpreter that calls nothing.

A pickle is a program for a stack machine. `unpickle` executes the few instructions that a dictionary of tensors needs,
on plain containers, and refuses all others. Names in a pickle are compared with a list and never looked up.
"""

import math
import pickletools
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

# Storage class -> little-endian NumPy type. NumPy has no bfloat16: its bits are the upper half of a float32.
STORAGES = {
    **{"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "<u2"},
    **{"LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1"},
    **{"ByteStorage": "u1", "BoolStorage": "?"},
}
CALLED = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
ARGUMENTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE"}
NAMES = {*CALLED, *(f"torch {kind}" for kind in STORAGES)}
EXPANSION = 16
"""How many times the bytes of their storages the tensors may take together, since views may overlap."""


class Refused(Exception):
    """The file contains something that a dictionary of tensors does not need."""


# What damaged bytes may raise.
BROKEN = (EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError)


class Name(NamedTuple):
    """A name from `NAMES` on the stack."""

    text: str


class Storage(NamedTuple):
    """A run of numbers elsewhere in the file: NumPy type, name in the file, length, whether it is bfloat16."""

    dtype: str
    key: str
    length: int
    bfloat16: bool

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.length * np.dtype(self.dtype).itemsize


class Tensor:
    """A view of a storage; offset and strides count elements."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple, *_: object):
        if not isinstance(storage, Storage) or len(shape) > 64 or len(strides) != len(shape):
            raise Refused("a tensor has no storage, or its shape and strides do not match")
        if not all(type(number) is int and 0 <= number < 2**63 for number in (offset, *shape, *strides)):
            raise Refused("the offset, shape or strides of a tensor are not integers from 0")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        # The second condition limits the memory: strides of 0 could ask for any number of elements.
        if (0 not in shape and last >= storage.length) or math.prod(shape) > storage.length:
            raise Refused(f"a tensor of shape {shape} does not fit its storage of {storage.length} elements")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Copies this tensor from the numbers of its storage."""
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)
        return widened(view) if self.storage.bfloat16 else view.copy()


def widened(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16 numbers, given as their bits (uint16), as float32."""
    return (bits.astype("<u4") << 16).view("<f4")


def unpickle(file: BinaryIO) -> Any:
    """Reads the next pickle of the file as plain containers, numbers, strings and `Tensor`, or raises `Refused`."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def cut(count: int | None = None) -> list[Any]:
        start = marks.pop() if count is None else len(stack) - count
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case name if name in ARGUMENTS:
                stack.append(argument)
            case "EMPTY_LIST" | "EMPTY_DICT" as name:
                stack.append([] if name == "EMPTY_LIST" else {})
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(cut(int(name[5:]) if name != "TUPLE" else None)))
            case "APPEND" | "APPENDS" as name:
                items = cut(1 if name == "APPEND" else None)
                if type(stack[-1]) is not list:
                    raise Refused("it appends to something that is not a list")
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = cut(2 if name == "SETITEM" else None)
                _fill(stack[-1], zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                if argument not in NAMES:
                    raise Refused(f"it asks for {str(argument).replace(' ', '.')}: save only a state_dict")
                stack.append(Name(argument))
            case "REDUCE":
                stack.append(_result(*cut(2)))
            case "BUILD":  # PyTorch stores version numbers as attributes of dictionaries
                stack.pop()
                _fill(stack[-1], ())
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case name if name != "PROTO":
                raise Refused(f"it uses the pickle instruction {name}")
    raise EOFError("the pickle does not end")


def _fill(target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    if type(target) is not dict:
        raise Refused("it sets items or attributes of something that is not a dictionary")
    for key, value in pairs:
        if type(key) not in (str, int):  # the hash of nested tuples may take forever
            raise Refused("a dictionary has a key that is neither text nor an integer")
        target[key] = value


def _result(name: Any, arguments: Any) -> Any:
    """Returns what the function of this name would return."""
    called = name.text if isinstance(name, Name) else None
    if called not in CALLED or type(arguments) is not tuple:
        raise Refused("it calls something that builds no tensor")
    if called == CALLED[0]:
        ordered: dict[Any, Any] = {}
        if arguments:  # Python 2 passed a list of pairs
            _fill(ordered, arguments[0])
            arguments[0].clear()  # one list does not fill many dictionaries
        return ordered
    return Tensor(*arguments) if called == CALLED[1] else arguments[0]


def _storage(reference: Any) -> Storage:
    match reference:  # only the legacy format has a last part
        case ("storage", Name(text=text), str() | int() as key, _, int() as count, *rest) if rest in ([], [None]):
            if (kind := text.removeprefix("torch ")) in STORAGES and count >= 0:
                return Storage(STORAGES[kind], str(key), count, kind == "BFloat16Storage")
    raise Refused("a reference is not to the storage of a tensor")


def tensors(content: object, size: int) -> dict[str, Tensor]:
    """Finds the tensors in nested containers; the name of one consists of all keys on the way, joined by dots.

    Containers with more entries than `size`, the bytes of the file, contain themselves or each other and are refused.
    """
    found: dict[str, Tensor] = {}
    for visited, (name, value) in enumerate(_entries(content, "")):
        if visited > size:
            raise Refused("its containers contain each other over and over")
        if isinstance(value, Tensor):
            found[name] = value
    wanted = sum(math.prod(tensor.shape) * np.dtype(tensor.storage.dtype).itemsize for tensor in found.values())
    if wanted > EXPANSION * sum(storage.size for storage in {tensor.storage for tensor in found.values()}):
        raise Refused(f"its tensors take {wanted} bytes, far more than their storages")
    return found


def _entries(value: Any, name: str) -> Iterator[tuple[str, object]]:
    yield name, value
    pairs: Iterable[tuple[Any, Any]] = ()
    if type(value) in (dict, list, tuple):
        pairs = value.items() if type(value) is dict else enumerate(value)
    for key, item in pairs:
        yield from _entries(item, f"{name}.{key}" if name else str(key))
