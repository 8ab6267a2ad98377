"""Choices of operations for graphs that are traced for inference and export, made for the layers in a block."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_SINGLE = "single_operation"
_ENLARGED = "enlarged"
_BOUNDED = "bounded"
_CHOSEN: ContextVar[frozenset[str]] = ContextVar("_CHOSEN", default=frozenset())


@contextlib.contextmanager
def _choose(choice: str) -> Iterator[None]:
    token = _CHOSEN.set(_CHOSEN.get() | {choice})
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def single_operation() -> contextlib.AbstractContextManager[None]:
    """Lets `Resize` and `Conv2D` use one operation of TensorFlow in graphs that are traced in the block.

    These are graphs for inference and export: one operation is faster, and exporters recognize it. It is not the
    default because on CPUs without oneDNN a dilated convolution has no gradient, and because XLA gives resizing wrong
    values or no gradient, and rounding of its float32 positions may select a neighboring pixel if the size of the
    output is not a multiple of that of the input. On other backends there is no difference.
    """
    return _choose(_SINGLE)


def enlarged() -> contextlib.AbstractContextManager[None]:
    """Lets `UNetBlock` make the enlarged features in graphs that are traced in the block.

    In 8-bit integers, a convolution of them is faster than a transposed convolution.
    """
    return _choose(_ENLARGED)


def bounded() -> contextlib.AbstractContextManager[None]:
    """Lets attention use a loop of TensorFlow in graphs that are traced in the block, to bound its memory.

    It is needed where the size of the image is unknown. It is not the default because exporters do not take loops.
    """
    return _choose(_BOUNDED)


def is_single_operation() -> bool:
    """Returns whether this is a block of `single_operation`, in which graphs for inference and export are traced."""
    return _SINGLE in _CHOSEN.get()


def is_enlarged() -> bool:
    """Returns whether this is a block of `enlarged`."""
    return _ENLARGED in _CHOSEN.get()


def is_bounded() -> bool:
    """Returns whether this is a block of `bounded`."""
    return _BOUNDED in _CHOSEN.get()
