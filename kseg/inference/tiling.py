"""Images larger than memory: overlapping tiles, blended, finished rows handed on as soon as they are known."""

from collections.abc import Callable, Iterator

import numpy as np

STEP = 32
"""Tiles begin at multiples of this, so that strides fall on the same pixels as in the whole image."""


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side.

    Args:
        side: Of the image, pixels.
        tile: Of a tile; the last one is shorter by less than `STEP` where it must be.
        overlap: Pixels that neighbours share at least.

    Returns:
        Multiples of `STEP`, ascending; the tiles cover the side.

    Example:
        >>> starts(300, 128, 32)
        [0, 96, 192]
    """
    if side <= tile:
        return [0]
    last = -(-(side - tile) // STEP) * STEP
    stride = max(STEP, (tile - overlap) // STEP * STEP)
    return [*range(0, last, stride), last]


def window(length: int, margin: int, first: bool, last: bool) -> np.ndarray:
    """Weights along a tile's side: a Gaussian of a quarter of it, 0 within the margin where a neighbour goes on.

    Args:
        length: Of the tile, pixels.
        margin: Pixels that count for nothing at inner sides.
        first: Whether the tile's beginning is the image's.
        last: Whether the tile's end is the image's.

    Returns:
        float32 `(length,)`.
    """
    places = np.arange(length)
    weights = np.exp(-0.5 * ((places - (length - 1) / 2) / (length / 4)) ** 2)
    weights[: 0 if first else margin] = 0
    weights[length - (0 if last else margin) :] = 0
    return weights.astype("float32")


def blend(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    tile: int = 512,
    overlap: int = 128,
    margin: int = 0,
) -> Iterator[tuple[int, np.ndarray]]:
    """Predicts an image tile by tile; never holds more than one row of tiles.

    Args:
        predict: From `(1, h, w, C)` to probabilities `(1, h, w, K)`.
        image: `(H, W, C)`, a memory map if it is large.
        tile: Side of a tile, a multiple of 32.
        overlap: Pixels that neighbours share at least, less than `tile`, and at least twice `margin`.
        margin: Pixels at a tile's inner sides that count for nothing. From the radius of the net's receptive field on,
            the result is that of the whole image.

    Yields:
        `(row, probabilities)`: float32 `(rows, W, K)` from that row on, from top to bottom, each row once.

    Raises:
        ValueError: The sizes contradict one another.
    """
    if tile % STEP or tile <= 0:
        raise ValueError(f"tile must be a multiple of {STEP}, got {tile}")
    if not 0 <= 2 * margin <= overlap <= tile - STEP:
        raise ValueError(
            f"overlap={overlap} must be at least twice margin={margin} and at most {tile - STEP} for tile={tile}"
        )
    height, width = image.shape[:2]
    rows, columns = starts(height, tile, overlap), starts(width, tile, overlap)
    total, weight = None, np.zeros((0, width), "float32")
    for top, following in zip(rows, [*rows[1:], height], strict=True):
        bottom = min(top + tile, height)
        vertical = window(bottom - top, margin, top == 0, bottom == height)
        missing = bottom - top - len(weight)
        weight = np.pad(weight, [(0, missing), (0, 0)])
        total = None if total is None else np.pad(total, [(0, missing), (0, 0), (0, 0)])
        for left in columns:
            right = min(left + tile, width)
            found = np.asarray(predict(image[None, top:bottom, left:right]), "float32")[0]
            shares = vertical[:, None] * window(right - left, margin, left == 0, right == width)
            if total is None:
                total = np.zeros((bottom - top, width, found.shape[-1]), "float32")
            total[:, left:right] += shares[..., None] * found
            weight[:, left:right] += shares
        assert total is not None
        done = following - top
        yield top, total[:done] / weight[:done, :, None]
        total, weight = total[done:], weight[done:]
