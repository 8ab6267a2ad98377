"""Batches of consecutive images of one size."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Labeled(NamedTuple):
    """One image of many: its source, and either its pixels and labels or the error that it caused."""

    source: Any
    image: np.ndarray | None = None
    label: np.ndarray | None = None
    error: Exception | None = None


def batches(
    sources: Iterable[Any],
    read: Callable[[Any], np.ndarray],
    is_whole: Callable[[np.ndarray], bool],
    batch_size: int,
) -> Iterator[list[Labeled]]:
    """Groups consecutive images of one size; an unreadable image, and one cut into tiles, is a group of its own."""
    group: list[Labeled] = []
    shape = None
    for source in sources:
        try:
            item = Labeled(source, read(source))
        except Exception as error:  # also of a decoder, and of memory that runs out
            item = Labeled(source, error=error)
        size = item.image.shape if item.image is not None and is_whole(item.image) else None
        if group and (size is None or size != shape):
            yield group
            group = []
        group.append(item)
        shape = size
        del item  # hold no image while the next one is read
        if size is None or len(group) == batch_size:
            yield group
            group = []
    if group:
        yield group
