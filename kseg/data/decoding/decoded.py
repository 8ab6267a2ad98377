"""The numbers of one image as they are stored, and what every reader of files checks and turns alike."""

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_PIXELS = 20_000 * 20_000
"""Largest image that is decoded: a file of a few kilobytes can claim billions of pixels."""

STRIP = 2**22
"""Number of pixels to convert at a time: a whole image would be held in memory two or three times."""

MICRO = "pip install 'kseg[micro]'"
GEO = "pip install 'kseg[geo]'"

_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (-1, True), 6: (-1, False), 7: (1, True), 8: (1, False)}
"""Quarter turns and a mirroring, in this order, that make an image of this EXIF orientation upright."""


@dataclass(frozen=True)
class Decoded:
    """The numbers of one image, upright.

    Attributes:
        values: `(H, W, B)`, any type of integers or floats.
        bits: Number of bits of each integer that the file uses.
        alpha: Index of the band that holds opacity; None if there is none.
        sure: Whether the file format alone makes this band opacity; TIFF files often mark a band so by mistake.
        nodata: The value that marks pixels without data; None if there is none.
    """

    values: np.ndarray
    bits: int
    alpha: int | None = None
    sure: bool = True
    nodata: float | None = None


class Content(io.BytesIO):
    """The bytes of a file that lies in a container, with its name for messages.

    Example:
        >>> content = Content("train-0.tar/7.png", b"bytes")
        >>> content.name, content.read()
        ('train-0.tar/7.png', b'bytes')
    """

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(data)
        self.name = name


def name_of(source: Any) -> str:
    """Returns the name of a file in messages."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", None) or getattr(source, "filename", None) or "the image")


class Refused(ValueError):
    """An image that could be read but whose meaning is open; the text is a sentence without the name of the file."""


def check_size(height: int, width: int) -> None:
    """Refuses an image that is too large to decode."""
    if width * height > MAX_PIXELS:
        raise Refused(
            f"{width} x {height} pixels, more than {MAX_PIXELS:,}: cut it into smaller images; for prediction with "
            f"tiles, a TIFF file may be larger if rasterio is installed: {GEO}"
        )


def check_page(page: int, count: int) -> None:
    """Refuses a page that a file does not have."""
    if not 1 <= page <= count:
        raise Refused(f"page {page} is asked for, but the file has {count} page{'s' * (count > 1)}")


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turns the pixels of an image with this EXIF orientation."""
    turns, mirrored = _TURNS.get(orientation, (0, False))
    values = np.rot90(values, turns) if turns else values
    return values[:, ::-1] if mirrored else values


def stored_place(place: tuple[slice, ...], size: tuple[int, int], orientation: int) -> tuple[slice, slice]:
    """Returns which part of the stored pixels is a part of the upright image of this height and width."""
    turns, mirrored = _TURNS.get(orientation, (0, False))
    rows, columns = place[:2]
    if mirrored:
        columns = _backward(columns, size[1])
    if turns == 1:
        return columns, _backward(rows, size[0])
    if turns == 2:
        return _backward(rows, size[0]), _backward(columns, size[1])
    return (_backward(columns, size[1]), rows) if turns == -1 else (rows, columns)


def stored_point(x: float, y: float, size: tuple[int, int], orientation: int) -> tuple[float, float]:
    """Returns where a point of the upright image of this height and width lies in the stored one."""
    turns, mirrored = _TURNS.get(orientation, (0, False))
    height, width = size
    x = width - x if mirrored else x
    return {0: (x, y), 1: (height - y, x), 2: (width - x, height - y), -1: (y, width - x)}[turns]


def _backward(part: slice, side: int) -> slice:
    chosen = range(*part.indices(side))
    return slice(side - 1 - chosen[-1], side - chosen[0], chosen.step) if chosen else slice(0, 0)


def number(text: Any) -> float | None:
    """Returns GDAL's marker of pixels without data, which TIFF files hold as text."""
    try:
        return float(str(text).strip(" \0")) if text is not None else None
    except ValueError:
        return None
