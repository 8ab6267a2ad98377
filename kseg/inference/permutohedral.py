"""Gaussian filtering in many dimensions with the permutohedral lattice, as sparse matrices."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class PermutohedralLattice:
    """Applies the kernel exp(-|f - g|^2 / 2) between all pairs of points `(N, d)`, in time linear in their number.

    Each point distributes its values over the corners of its lattice simplex (splat), the corners are blurred along the
    d + 1 axes of the lattice, and each point interpolates between its corners (slice).

    Reference:
        Adams, Baek, Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice, 2010,
        https://doi.org/10.1111/j.1467-8659.2009.01645.x
    """

    def __init__(self, features: np.ndarray) -> None:
        pandas, sparse = _required("pandas"), _required("scipy.sparse")
        corners, weights, steps = _simplices(np.asarray(features, "float32"))
        count, width = corners.shape
        numbers, keys = pandas.factorize(corners.ravel(), sort=True)  # sorted: neighbors are close in memory
        starts = np.arange(0, count * width + 1, width, dtype="int32")
        self.slice = sparse.csr_array((weights.ravel(), numbers.astype("int32"), starts), shape=(count, len(keys)))
        self.splat = self.slice.T
        place = pandas.Index(keys)
        self.blurs = [_blur(place.get_indexer(keys + step)) for step in steps]
        self.blurs[-1] *= np.float32(1 / (1 + 2.0 ** (1 - width)))

    def rescale(self, before: np.ndarray, after: np.ndarray) -> None:
        """Makes later calls multiply the values by `before` and the results by `after`, both `(N,)`."""
        columns = self.splat.indptr, self.splat.indices
        width = len(self.blurs)
        self.splat = type(self.splat)((self.splat.data * np.repeat(before, width), *columns[::-1]), self.splat.shape)
        self.slice.data = self.slice.data * np.repeat(after, width)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns, for each point, the sum over all points of their values `(N, C)` times the kernel, float32."""
        x = self.splat @ np.asarray(values, "float32")
        for blur in self.blurs:
            x = blur @ x
        return self.slice @ x


def _simplices(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Returns the simplex around each point: `(N, d + 1)` keys of its corners, their weights, and key steps per axis.

    The d coordinates of a corner are packed into one integer, the key, so that a step to a neighbor adds a constant.
    """
    count, d = features.shape
    # Project onto the hyperplane of d + 1 coordinates with sum 0, where corners have integer coordinates.
    order = np.arange(1, d + 1)
    scaled = features * (np.sqrt(2 / 3) * (d + 1) / np.sqrt(order * (order + 1))).astype("float32")
    elevation = np.triu(np.ones((d + 1, d)))
    elevation[order, order - 1] = -order
    elevated = elevation.astype("float32") @ scaled.T  # (d + 1, N)

    nearest = np.rint(elevated / np.float32(d + 1))  # corners of remainder 0
    rest = elevated - nearest * np.float32(d + 1)
    nearest = nearest.astype("int32")
    rank = np.zeros((d + 1, count), "int8")
    for i in range(d):
        for j in range(i + 1, d + 1):
            less = rest[i] < rest[j]
            rank[i] += less
            rank[j] += ~less
    rank += nearest.sum(axis=0).astype("int8")  # the sum must be 0: the worst rounded ones move by 1
    moved = (rank < 0).astype("int8") - (rank > d)
    rank += moved * np.int8(d + 1)
    nearest += moved
    rest -= moved * np.float32(d + 1)

    place = rank * np.intp(count) + np.arange(count)
    by_rank = np.empty_like(rest)
    by_rank.ravel()[place] = rest / np.float32(d + 1)
    weights = np.empty((count, d + 1), "float32")
    weights[:, 0] = 1 + by_rank[d] - by_rank[0]
    weights[:, 1:] = (by_rank[d - 1 :: -1] - by_rank[:0:-1]).T

    lowest, highest = nearest.min(axis=1), nearest.max(axis=1)
    sizes = [(int(size) + 5) * (d + 1) for size in highest - lowest]  # two more corners on each side
    strides = np.cumprod([1, *sizes[:d]], dtype=object)
    if strides[-1] >= 2**62:
        raise ValueError("the points are too many standard deviations apart: use larger ones, or a smaller image")
    strides = strides[:d].astype("int64")
    step = int(strides.sum())
    of_rank = np.zeros((d + 1, count), "int64")
    of_rank.ravel()[place] = np.append(strides, 0)[:, None]
    corners = np.empty((count, d + 1), "int64")
    corners[:, 0] = (strides * (d + 1)) @ (nearest[:d] - lowest[:d, None] + 2)
    for k in range(1, d + 1):
        corners[:, k] = corners[:, k - 1] + step - (d + 1) * of_rank[d - k + 1]
    return corners, weights, [step - (d + 1) * int(stride) for stride in [*strides, 0]]


def _blur(following: np.ndarray) -> "csr_array":
    """Returns the matrix that adds half of both neighbors along one axis; `following` is the next corner, or -1."""
    count = len(following)
    there = np.flatnonzero(following >= 0)
    columns = np.repeat(np.arange(count, dtype="int32")[:, None], 3, axis=1)
    weights = np.zeros((count, 3), "float32")  # a missing neighbor is the corner itself with weight 0
    weights[:, 0] = 1
    columns[there, 1] = following[there]
    weights[there, 1] = 0.5
    columns[following[there], 2] = there
    weights[following[there], 2] = 0.5
    starts = np.arange(0, 3 * count + 1, 3, dtype="int32")
    return _required("scipy.sparse").csr_array((weights.ravel(), columns.ravel(), starts), shape=(count, count))


def _required(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        name = {"scipy.sparse": "SciPy"}.get(module, module)
        raise ModuleNotFoundError(f"the dense CRF needs {name}: pip install 'kseg[train]'") from None
