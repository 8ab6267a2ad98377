"""Prediction of images larger than memory, in overlapping tiles that are blended."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

STEP = 32
"""Tiles start at multiples of this, so that strided layers sample the same pixels as in the whole image."""


class Span(NamedTuple):
    """A tile along one side: its start and stop, how many of its pixels no later tile covers, and its weights."""

    start: int
    stop: int
    done: int
    weights: np.ndarray


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Returns where tiles start along a side: evenly spaced multiples of `STEP`, so that at most two lengths occur."""
    if side <= tile:
        return [0]
    last = -(-(side - tile) // STEP)  # in steps
    count = -(-last // max(1, (tile - overlap) // STEP))
    return [index * last // count * STEP for index in range(count + 1)]


def spans(side: int, tile: int, overlap: int, margin: int) -> list[Span]:
    """Returns the tiles along a side. Weights are Gaussians, 0 in inner margins; their sum is 1."""
    places = starts(side, tile, overlap)
    windows, total = [], np.zeros(side)
    for start in places:
        stop = min(start + tile, side)
        length = stop - start
        window = np.exp(-0.5 * ((np.arange(length) - (length - 1) / 2) / (length / 4)) ** 2)
        window[: margin if start else 0] = 0
        window[length - (margin if stop < side else 0) :] = 0
        total[start:stop] += window
        windows.append(window)
    found = []
    for (start, following), window in zip(itertools.pairwise([*places, side]), windows, strict=True):
        stop = start + len(window)
        found.append(Span(start, stop, following - start, (window / total[start:stop]).astype("float32")))
    return found


def check_sizes(tile: int, overlap: int | None, margin: int) -> int:
    """Returns the overlap, by default a quarter of a tile, at most 128; raises a ValueError if the sizes do not fit."""
    if overlap is None:
        overlap = max(0, min(128, tile // 4, tile - STEP))
    if tile % STEP or tile <= 0:
        raise ValueError(f"tile must be a multiple of {STEP}, got {tile}")
    if not 0 <= 2 * margin <= overlap <= tile - STEP:
        raise ValueError(
            f"overlap={overlap} must be at least twice margin={margin} and at most {tile - STEP} for tile={tile}"
        )
    return overlap


def places(
    size: tuple[int, int], *, tile: int, overlap: int | None = None, margin: int = 0
) -> list[tuple[slice, slice]]:
    """Returns the rows and columns of the tiles of an image, from left to right and from top to bottom."""
    overlap = check_sizes(tile, overlap, margin)
    rows, columns = (spans(side, tile, overlap, margin) for side in size)
    return [np.s_[row.start : row.stop, column.start : column.stop] for row in rows for column in columns]


def blend(
    predict: Callable[[np.ndarray], np.ndarray],
    image: Any,
    *,
    tile: int,
    overlap: int | None = None,
    margin: int = 0,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Predicts an image tile by tile; see `joined`.

    Yields:
        `(row, column, probabilities)`: position of the upper left pixel, and float32 `(h, w, K)`; each pixel once.
    """
    size = image.shape[:2]
    tiles = (predict(image[place][None])[0] for place in places(size, tile=tile, overlap=overlap, margin=margin))
    return joined(tiles, size, tile=tile, overlap=overlap, margin=margin)


def joined(
    tiles: Iterable[np.ndarray], size: tuple[int, int], *, tile: int, overlap: int | None = None, margin: int = 0
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Joins the probabilities `(h, w, K)` of the tiles of an image of this height and width, in the order of `places`.

    Besides a few tiles, memory holds only the rows that overlap the tiles below: `(overlap + STEP) * W * K` floats, and
    more for an image slightly larger than a tile. `margin` pixels at inner sides of tiles are discarded; if they are at
    least the radius of the network's receptive field, the result equals that for the whole image.

    Yields:
        `(row, column, probabilities)`: position of the upper left pixel, and float32 `(h, w, K)`; each pixel once.
    """
    overlap = check_sizes(tile, overlap, margin)
    rows, columns = (spans(side, tile, overlap, margin) for side in size)
    found = iter(tiles)
    above: np.ndarray | None = None  # sums of the rows that overlap the next row of tiles
    held = 0  # number of these rows in use
    for row in rows:
        beside = None  # sums of the columns that overlap the next tile
        for column in columns:
            total = np.asarray(next(found), "float32")
            total = total * (row.weights[:, None] * column.weights)[..., None]
            if above is None:
                most = max(span.stop - span.start - span.done for span in rows)
                above = np.zeros((most, size[1], total.shape[-1]), "float32")
            if beside is not None:
                total[:, : beside.shape[1]] += beside
            total, beside = total[:, : column.done], total[:, column.done :]
            strip = above[:, column.start : column.start + column.done]
            total[:held] += strip[:held]
            strip[: len(total) - row.done] = total[row.done :]
            yield row.start, column.start, total[: row.done]
        held = row.stop - row.start - row.done
