"""Regions of labeled objects, polygons or run lengths, and their pixels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALES, BITS = (5, 15), 4  # polygons are drawn 5 to 15 times larger, with vertices at sixteenths of the small pixels
FINEST = 2**20  # small pixels of an object up to which it is drawn more than 5 times larger
STRIP = 2**24  # small pixels drawn at a time
FARTHEST = 10**6  # coordinates beyond are errors of the file

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Region:
    """The pixels of one object.

    Args:
        polygons: Arrays `(n, 2)` of x and y, in pixels from the upper left corner of the image. The region is their
            union; a polygon that crosses itself is filled by the even-odd rule.
        relative: Whether x and y are shares of width and height.
        runs: Lengths of runs of pixels inside `box`, of which the first is outside the region, the second inside, and
            so on.
        box: x, y, width and height of the area that the runs cover.
        by_columns: Whether the runs go down the columns, as in COCO, instead of along the rows.
    """

    polygons: tuple[Points, ...] = ()
    relative: bool = False
    runs: NDArray[np.int64] | None = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    by_columns: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a polygon nor a run."""
        return not self.polygons and self.runs is None

    def mask(self) -> np.ndarray:
        """Returns the pixels in `box` as bool `(height, width)`; regions of polygons have none."""
        _, _, width, height = self.box
        runs = np.zeros(0, np.int64) if self.runs is None else self.runs
        if runs.sum() != width * height or (runs < 0).any():
            raise ValueError(f"run lengths cover {runs.sum()} pixels of {height}x{width}")
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return flat.reshape(width, height).T if self.by_columns else flat.reshape(height, width)


def draw(objects: Iterable[tuple[int, Region]], size: tuple[int, int], *, fill: int = 0) -> np.ndarray:
    """Draws objects as a label map, later ones over earlier ones.

    A pixel belongs to a polygon if its center does, as in COCO's own tools.

    Args:
        objects: Class id and region of each object.
        size: Height and width of the image.
        fill: The label of pixels without an object.

    Returns:
        uint8 array `(H, W)`.

    Raises:
        ValueError: If run lengths do not fit their box, or a coordinate is no number.

    Example:
        >>> square = polygon([1, 1, 3, 1, 3, 3, 1, 3])
        >>> draw([(1, square)], (4, 5)).tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    label = np.full(size, fill, np.uint8)
    for class_id, region in objects:
        if region.runs is not None:
            x, y, _, _ = region.box
            mask = region.mask()[max(0, -y) :, max(0, -x) :]
            part = label[max(0, y) :, max(0, x) :][: mask.shape[0], : mask.shape[1]]
            part[mask[: part.shape[0], : part.shape[1]]] = class_id
        for points in region.polygons:
            _fill(label, points * np.array(size[::-1], np.float32) if region.relative else points, class_id)
    return label


def polygon(*rings: Sequence[float] | np.ndarray, relative: bool = False) -> Region:
    """Returns the region of one or several polygons, each `[x, y, x, y, ...]`; rings without an area are left out."""
    arrays = [np.asarray(ring, np.float32) for ring in rings]
    if any(array.size % 2 or array.ndim != 1 for array in arrays):
        raise ValueError("a polygon is a list x, y, x, y, ...")
    return Region(tuple(array.reshape(-1, 2) for array in arrays if array.size > 4), relative)


def box(x: float, y: float, width: float, height: float, *, degrees: float = 0, corner: bool = False) -> Region:
    """Returns a rectangle, rotated clockwise about its center or its upper left corner."""
    ring = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    return polygon(_rotated(ring, (x, y) if corner else (x + width / 2, y + height / 2), degrees).reshape(-1))


def ellipse(x: float, y: float, across: float, down: float, *, degrees: float = 0) -> Region:
    """Returns an ellipse by center and radii, rotated clockwise."""
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    ring = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
    return polygon(_rotated(ring, (x, y), degrees).reshape(-1))


def runs(lengths: Any, box: Sequence[float], *, by_columns: bool = False) -> Region:
    """Returns the region of run lengths in a box `(x, y, width, height)`; a string is COCO's compressed form."""
    counts = _decompressed(lengths) if isinstance(lengths, str | bytes) else np.asarray(lengths, np.int64)
    x, y, width, height = (round(value) for value in box)
    if rest := width * height - int(counts.sum()):  # a last run outside may be missing
        counts = np.append(counts, [0, rest] if len(counts) % 2 else [rest]) if rest > 0 else counts
    return Region(runs=counts, box=(x, y, width, height), by_columns=by_columns)


def bitmap(mask: np.ndarray, x: int = 0, y: int = 0) -> Region:
    """Returns the region of a bool array `(height, width)` whose upper left pixel is at `(x, y)`."""
    flat = np.concatenate([[False], np.asarray(mask, bool).reshape(-1)])
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    return Region(runs=np.diff(ends, prepend=0), box=(x, y, mask.shape[1], mask.shape[0]))


def _fill(label: np.ndarray, points: Points, value: int) -> None:
    """Fills one polygon: at a larger scale, since OpenCV also fills all pixels that the outline touches."""
    cv2 = _opencv()
    if not (np.abs(points) < FARTHEST).all():  # nor NaN
        raise ValueError(f"a polygon has a coordinate that is no number below {FARTHEST:,}")
    left, top = np.floor(points.min(axis=0)).clip(0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int), label.shape[::-1]).tolist()
    if right <= left or bottom <= top:
        return
    width, height = right - left, bottom - top
    scale = min(max(math.isqrt(FINEST // (width * height)), SCALES[0]), SCALES[1]) | 1  # odd: pixels have a center
    corners = np.rint(((points.astype(np.float64) - (left, 0)) * scale - 0.5) * 2**BITS).astype(np.int64)
    rows = max(1, STRIP // (scale**2 * width))
    for y in range(top, bottom, rows):
        count = min(rows, bottom - y)
        canvas = np.zeros((count * scale, width * scale), np.uint8)
        cv2.fillPoly(canvas, [(corners - (0, y * scale * 2**BITS)).astype(np.int32)], 1, shift=BITS)
        label[y : y + count, left:right][canvas[scale // 2 :: scale, scale // 2 :: scale] > 0] = value


def _rotated(ring: np.ndarray, center: tuple[float, float], degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned: np.ndarray = (ring - center) @ np.array([[cos, sin], [-sin, cos]]) + center
    return turned


def _decompressed(text: str | bytes) -> NDArray[np.int64]:
    """Decodes COCO's compressed run lengths.

    A number is a sequence of characters, lowest five bits first; bit 6 says that another one follows. From the fourth
    number on, it is the difference to the number two places before.
    """
    codes = np.frombuffer(text.encode("latin-1") if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("compressed run lengths hold characters that are none of COCO's")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.append(0, last[:-1] + 1)
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    if place.max() > 11:
        raise ValueError("compressed run lengths hold a number beyond 60 bits")
    numbers = np.add.reduceat((codes & 31) << (5 * place), first)
    numbers -= np.where(codes[last] & 16, 1 << (5 * (last - first + 1)), 0)
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return numbers


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"polygons need OpenCV: pip install 'kseg[train]' ({error})") from None
    return cv2
