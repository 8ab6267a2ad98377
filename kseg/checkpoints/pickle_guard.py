"""Pickles of tensors, read by an interpreter that calls only functions of this file.

A pickle is a program for a stack machine. `unpickle` executes the few instructions that a dictionary of tensors needs,
on plain containers, and refuses all others. Names in a pickle are looked up only in the table `KNOWN`. What people save
beside the tensors (arguments, paths, devices, NumPy numbers) becomes `Inert`, an object without content.
"""

import math
import pickletools
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kseg.checkpoints.pickle_names import DICTIONARIES, INERT

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
ARGUMENTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE"}
EXPANSION = 16
"""How many times the bytes of their storages the tensors may take together, since views may overlap."""
# What damaged bytes may raise.
BROKEN = (EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError)


class Refused(Exception):
    """The file contains something that a dictionary of tensors does not need."""


class Storage(NamedTuple):
    """A run of numbers elsewhere in the file."""

    dtype: np.dtype
    key: str
    length: int
    size: int  # in bytes


class Tensor:
    """A view of a storage; offset and strides count elements."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple, *_: object):
        if not isinstance(storage, Storage) or not len(shape) == len(strides) <= 64:
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
        return widened(view) if numbers.dtype == "<u2" else view.copy()


def widened(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16 numbers, given as their bits (uint16), as float32."""
    return (bits.astype("<u4") << 16).view("<f4")


class Inert:
    """Stands for an object beside the tensors; the arguments and the state that it is made with are ignored."""

    def __init__(self, *_: object):
        pass


PLAIN = (str, int, float, bool, type(None), Inert)
"""Types of keys, alone or in a short tuple: the hash of nested tuples may take forever."""


def _filled(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """Sets items and empties the list of pairs: one list does not fill many dictionaries."""
    for key, value in pairs:
        parts = key if type(key) is tuple else (key,)
        if len(parts) > 8 or not all(type(part) in PLAIN for part in parts):
            raise Refused("a dictionary has a key that is neither text nor a number")
        target[key] = value
    pairs.clear()
    return target


def _tensor(function: Any, arguments: tuple) -> Tensor:
    """Returns a tensor that PyTorch saved together with attributes of its own."""
    if function is not Tensor:
        raise Refused("a tensor is made by a function for something else")
    return Tensor(*arguments)


def _refuse_type() -> None:
    raise Refused("it holds tensors of a type that is not read, such as float8: convert them, tensor.float()")


# Storage class -> little-endian NumPy type. NumPy has no bfloat16: its bits are the upper half of a float32.
STORAGES = (
    "Double=<f8 Float=<f4 Half=<f2 BFloat16=<u2 Long=<i8 Int=<i4 Short=<i2 Char=i1 Byte=u1 Bool=? ComplexFloat=<c8 "
    "ComplexDouble=<c16"
)
KNOWN = {
    "collections OrderedDict": lambda pairs=None: _filled({}, pairs or []),  # pairs are from Python 2
    "torch._utils _rebuild_tensor_v2": Tensor,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils _rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor _rebuild_from_type_v2": lambda function, _, arguments, *__: _tensor(function, arguments),
    **dict.fromkeys(DICTIONARIES, lambda *_: {}),
    **dict.fromkeys(INERT, Inert),
    "collections deque": lambda *_: [],
    "torch._utils _rebuild_tensor_v3": lambda *_: _refuse_type(),
    "torch.storage UntypedStorage": np.dtype("u1"),
    **{f"torch {name}Storage": np.dtype(kind) for name, _, kind in (each.partition("=") for each in STORAGES.split())},
}


def unpickle(file: BinaryIO) -> Any:
    """Reads the next pickle of the file as plain containers, numbers, strings and `Tensor`, or raises `Refused`."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        start = len(stack) - len(opcode.stack_before)
        if pickletools.markobject in opcode.stack_before:  # a mark and all items above it count as two
            start = marks.pop() + 2 - len(opcode.stack_before)
        items = stack[start:]
        del stack[start:]
        match opcode.name, items:
            case "STOP", [result]:
                return result
            case "MARK", _:
                marks.append(len(stack))
            case name, _ if name in CONSTANTS or name in ARGUMENTS:
                stack.append(CONSTANTS.get(name, argument))
            case "EMPTY_LIST" | "EMPTY_DICT" as name, _:
                stack.append([] if name == "EMPTY_LIST" else {})
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3", _:
                stack.append(tuple(items))
            case "APPEND" | "APPENDS", [list(target), *more]:
                target.extend(more)
                stack.append(target)
            case "SETITEM" | "SETITEMS", [dict(target), *more]:
                stack.append(_filled(target, list(zip(more[::2], more[1::2], strict=True))))
            case "BUILD", [dict() | Inert() as target, _]:  # sets attributes, which these do not have
                stack.append(target)
            case "BINPUT" | "LONG_BINPUT", _:
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET", _:
                stack.append(memo[argument])
            case "GLOBAL", _:
                if argument not in KNOWN:
                    raise Refused(
                        f"it asks for {str(argument).replace(' ', '.')[:60]}: where it was saved, save the tensors "
                        "alone, torch.save(model.state_dict(), FILE)"
                    )
                stack.append(KNOWN[argument])
            case "REDUCE" | "NEWOBJ", [function, tuple(arguments)] if callable(function):
                stack.append(function(*arguments))
            case "BINPERSID", [("storage", np.dtype() as dtype, str(key) | int(key), _, int(length), *part)]:
                if any(part):
                    raise Refused("a reference is to a part of a storage")
                stack.append(Storage(dtype, str(key), length, length * dtype.itemsize))
            case name, _ if name != "PROTO":
                raise Refused(
                    f"it uses the pickle instruction {name}: save a dictionary of tensors, with the pickle_protocol 2"
                )
    raise EOFError("the pickle does not end")


def tensors(content: object, size: int) -> dict[str, Tensor]:
    """Finds the tensors in nested containers; the name of one consists of all keys on the way, joined by dots.

    Containers with more entries than `size`, the bytes of the file, contain themselves or each other and are refused.
    """
    found: dict[str, Tensor] = {}
    left = iter(range(size))

    def visit(value: Any, name: str) -> None:
        if next(left, None) is None:
            raise Refused("its containers contain each other over and over")
        if isinstance(value, Tensor):
            found[name] = value
        if isinstance(value, dict | list | tuple):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                visit(item, f"{name}.{key}" if name else str(key))

    visit(content, "")
    wanted = sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in found.values())
    if wanted > EXPANSION * sum(storage.size for storage in {tensor.storage for tensor in found.values()}):
        raise Refused(f"its tensors take {wanted} bytes, far more than their storages")
    return found
