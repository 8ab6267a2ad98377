"""Images larger than memory: overlapping tiles, blended, what is finished handed on at once."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

STEP = 32
"""Tiles begin at multiples of this, so that strides fall on the same pixels as in the whole image."""


class Span(NamedTuple):
    """A tile along one side: where it begins and ends, how many pixels no later tile touches, its weights."""

    start: int
    stop: int
    done: int
    weights: np.ndarray


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side, evenly.

    Args:
        side: Of the image, pixels.
        tile: Of a tile; the last one is shorter by less than `STEP` where it must be, so that tiles have at most two
            lengths along a side and four shapes in an image.
        overlap: Pixels that neighbours share at least.

    Returns:
        Multiples of `STEP`, ascending; the tiles cover the side.

    Example:
        >>> starts(300, 128, 32)
        [0, 96, 192]
    """
    if side <= tile:
        return [0]
    last = -(-(side - tile) // STEP)  # in steps
    count = -(-last // max(1, (tile - overlap) // STEP))
    return [index * last // count * STEP for index in range(count + 1)]


def spans(side: int, tile: int, overlap: int, margin: int) -> list[Span]:
    """The tiles along a side, with weights that add up to 1 at each of its pixels.

    A tile's weights are a Gaussian of a quarter of its length, and 0 within the margin where a neighbour goes on.

    Args:
        side: Of the image, pixels.
        tile: Of a tile.
        overlap: Pixels that neighbours share at least.
        margin: Pixels at inner ends that count for nothing.

    Returns:
        A span a tile, in order; weights float32 `(stop - start,)`.

    Example:
        >>> [(span.start, span.stop, span.done) for span in spans(300, 128, 32, 0)]
        [(0, 128, 96), (96, 224, 96), (192, 300, 108)]
    """
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


def check_sizes(tile: int, overlap: int, margin: int) -> None:
    """Raises a ValueError if the sizes of tiles contradict one another; see `blend`."""
    if tile % STEP or tile <= 0:
        raise ValueError(f"tile must be a multiple of {STEP}, got {tile}")
    if not 0 <= 2 * margin <= overlap <= tile - STEP:
        raise ValueError(
            f"overlap={overlap} must be at least twice margin={margin} and at most {tile - STEP} for tile={tile}"
        )


def blend(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    tile: int = 512,
    overlap: int = 128,
    margin: int = 0,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Predicts an image tile by tile, from left to right and from top to bottom.

    Beside a tile or two only the rows are held that the tiles below will add to: `(overlap + STEP) * W * K` floats,
    154 MB for 20,000 pixels of width, 12 classes and an overlap of 128. A side barely longer than a tile holds more,
    for its two tiles share nearly all.

    Args:
        predict: From `(1, h, w, C)` to probabilities `(1, h, w, K)`.
        image: `(H, W, C)`, a memory map if it is large.
        tile: Side of a tile, a multiple of 32.
        overlap: Pixels that neighbours share at least, less than `tile`, and at least twice `margin`.
        margin: Pixels at a tile's inner sides that count for nothing. From the radius of the net's receptive field on,
            the result is that of the whole image.

    Yields:
        `(row, column, probabilities)`: float32 `(h, w, K)` whose upper left pixel is there; each pixel once.

    Raises:
        ValueError: The sizes contradict one another.
    """
    check_sizes(tile, overlap, margin)
    height, width = image.shape[:2]
    rows, columns = (spans(side, tile, overlap, margin) for side in (height, width))
    above: np.ndarray | None = None  # sums of the rows that reach into the next row of tiles
    held = 0  # how many of them are in use
    for row in rows:
        beside = None  # sums of the columns that reach into the next tile
        for column in columns:
            part = image[None, row.start : row.stop, column.start : column.stop]
            total = np.asarray(predict(part), "float32")[0]
            total = total * (row.weights[:, None] * column.weights)[..., None]
            if above is None:
                most = max(span.stop - span.start - span.done for span in rows)
                above = np.zeros((most, width, total.shape[-1]), "float32")
            if beside is not None:
                total[:, : beside.shape[1]] += beside
            total, beside = total[:, : column.done], total[:, column.done :]
            strip = above[:, column.start : column.start + column.done]
            total[:held] += strip[:held]
            strip[: len(total) - row.done] = total[row.done :]
            yield row.start, column.start, total[: row.done]
        held = row.stop - row.start - row.done
