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
    """Reads images and groups consecutive ones of the same size, holding no more than one batch.

    An image that is not whole (cut into tiles) or could not be read (ValueError, OSError) is a group of its own.
    """
    group: list[Labeled] = []
    shape = None
    for source in sources:
        try:
            item = Labeled(source, read(source))
        except (ValueError, OSError) as error:
            item = Labeled(source, error=error)
        alone = item.image is None or not is_whole(item.image)
        size = None if item.image is None else item.image.shape
        if group and (alone or size != shape):
            yield group
            group = []
        group.append(item)
        shape = size
        del item  # hold no image while the next one is read
        if alone or len(group) == batch_size:
            yield group
            group = []
    if group:
        yield group
