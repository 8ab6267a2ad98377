"""Connected regions of a label map, with their areas, boxes and centroids; memory grows with the runs of labels."""

import dataclasses
from collections.abc import Collection

import numpy as np

STRIP = 2**22
"""Number of pixels to split into runs at a time."""


@dataclasses.dataclass(frozen=True)
class Objects:
    """The connected regions of a label map, sorted by class and then by their first pixel, row by row.

    Pixels that touch only at a corner belong to different regions. Coordinates are in pixels, x to the right and y
    downwards; the center of the first pixel is (0, 0).

    Attributes:
        classes: Class ids, int64 `(N,)`.
        areas: Numbers of pixels, int64 `(N,)`.
        boxes: x, y, width and height, int64 `(N, 4)`.
        centroids: x and y of the mean of the pixels, float64 `(N, 2)`.
        runs: y, x and length of each horizontal run of pixels, int64 `(R, 3)`, region after region.
        ends: The end of each region in `runs`, int64 `(N,)`.
    """

    classes: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    centroids: np.ndarray
    runs: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def mask(self, index: int) -> np.ndarray:
        """Returns the pixels of a region within its box, bool `(height, width)`."""
        x, y, width, height = self.boxes[index]
        runs = self.runs[self.ends[index - 1] if index else 0 : self.ends[index]] - (y, x, 0)
        steps = np.zeros((height, width + 1), "int8")
        steps[runs[:, 0], runs[:, 1]] = 1
        steps[runs[:, 0], runs[:, 1] + runs[:, 2]] = -1
        return steps[:, :-1].cumsum(axis=1, dtype="int8").astype(bool)


def find_objects(label: np.ndarray, num_classes: int, *, without: Collection[int] = ()) -> Objects:
    """Finds the connected regions of a label map.

    Args:
        label: Integers `(H, W)`; labels from `num_classes` on are void.
        num_classes: Number of classes.
        without: Class ids to leave out, such as the background.

    Returns:
        The regions.

    Example:
        >>> found = find_objects(np.array([[1, 1, 0], [0, 0, 1]]), 2, without=[0])
        >>> found.areas.tolist(), found.boxes.tolist(), found.centroids.tolist()
        ([2, 1], [[0, 0, 2, 1], [2, 1, 1, 1]], [[0.5, 0.0], [2.0, 1.0]])
    """
    width = label.shape[1]
    start, stop, kind = _runs(label, num_classes, without)
    root = _roots(len(start), *_neighbors(start, stop, kind, width))
    order = np.lexsort((root, kind))
    start, stop, kind, root = start[order], stop[order], kind[order], root[order]
    first = np.flatnonzero(np.append(True, root[1:] != root[:-1])[: len(root)])
    y, x, length = start // width, start % width, stop - start

    def each(function: np.ufunc, values: np.ndarray) -> np.ndarray:
        return function.reduceat(values, first) if len(first) else values

    areas = each(np.add, length)
    left, top = each(np.minimum, x), each(np.minimum, y)
    right, below = each(np.maximum, x + length), each(np.maximum, y + 1)
    sums = each(np.add, length * (x + (length - 1) / 2)), each(np.add, length * y)
    return Objects(
        kind[first],
        areas,
        np.stack([left, top, right - left, below - top], axis=1),
        np.stack([total / areas for total in sums], axis=1),
        np.stack([y, x, length], axis=1),
        np.append(first[1:], len(root))[: len(first)],
    )


def _runs(label: np.ndarray, num_classes: int, without: Collection[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns start, stop and class of the horizontal runs, as positions in the flat label map, in order."""
    height, width = label.shape
    wanted = np.array([index for index in range(num_classes) if index not in without], "int64")
    parts = []
    rows = max(1, STRIP // max(width, 1))
    for top in range(0, height, rows):
        strip = label[top : top + rows]
        edges = np.ones(strip.shape, bool)
        edges[:, 1:] = strip[:, 1:] != strip[:, :-1]
        start = np.flatnonzero(edges)
        kind = strip.reshape(-1)[start].astype("int64")
        keep = np.isin(kind, wanted)
        stop = np.append(start[1:], strip.size)
        parts.append((start[keep] + top * width, stop[keep] + top * width, kind[keep]))
    start, stop, kind = map(np.concatenate, zip(*parts, strict=True))
    return start, stop, kind


def _neighbors(start: np.ndarray, stop: np.ndarray, kind: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of runs of one class that lie one below the other."""
    low = np.searchsorted(stop, start + width, side="right")
    counts = np.maximum(np.searchsorted(start, stop + width, side="left") - low, 0)
    above = np.repeat(np.arange(len(start)), counts)
    below = np.arange(len(above)) + np.repeat(low - np.cumsum(counts) + counts, counts)
    same = kind[above] == kind[below]
    return above[same], below[same]


def _roots(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the smallest index in the component of each index, for the edges from `a` to `b`.

    Every round joins each root that has a smaller neighbor to the smallest one, which at least halves their number.
    """
    root = np.arange(count)
    while len(a):
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(above := root[root], root):
            root = above
        a, b = root[a], root[b]
        apart = a != b
        a, b = a[apart], b[apart]
    return root
