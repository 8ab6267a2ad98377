"""The one reader of images, for training, checks and prediction: files, PIL images and arrays, of any bit depth."""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from kseg.data.decoding import image_file
from kseg.data.decoding.decoded import STRIP, Decoded, Refused, name_of

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".jp2",
    ".npy",
)  # fmt: skip
"""Suffixes of the files that `read_picture` reads."""

PERCENTILES = (1, 99)
SAMPLED = 2**20
"""Number of pixels from which percentiles are computed."""

Warn = Callable[[str, str], None]
"""A function that takes the name of an image and what is doubtful about it."""


@dataclass(frozen=True)
class Pixels:
    """What the numbers of image files mean.

    Args:
        range: The values that become 0 and 255, such as `(0, 4095)` for a 12-bit camera; values outside are clipped.
            `"percentile"` takes the 1st and 99th percentile of each band of each image. None takes the whole range of
            8 and 16-bit integers; floats must have values from 0 to 255.
        bands: The bands to use, counted from 1, in this order; it also sets `channels`. Pages with one band each count
            as the bands of one image.
        page: The page of a file with several pages (slices, times, frames), counted from 1.
        channels: Number of channels of the result. Gray is repeated for 3, and RGB converted to gray for 1; opacity is
            dropped unless it is needed for this number.

    Raises:
        ValueError: If an option is invalid.

    Example:
        >>> Pixels(range=(0, 4095), bands=(4, 3, 2)).to_json()
        {'range': [0.0, 4095.0], 'bands': [4, 3, 2]}
    """

    range: tuple[float, float] | Literal["percentile"] | None = None
    bands: tuple[int, ...] | None = None
    page: int | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        if self.range is not None and self.range != "percentile":
            try:
                pair: tuple[float, ...] = () if isinstance(self.range, str) else tuple(map(float, self.range))
            except (TypeError, ValueError):
                pair = ()
            if len(pair) != 2 or not -math.inf < pair[0] < pair[1] < math.inf:
                raise ValueError(f'range must be two values such as [0, 4095], or "percentile", got {self.range!r}')
            object.__setattr__(self, "range", pair)
        if self.bands is not None:
            bands = tuple(np.atleast_1d(self.bands).tolist())
            if not bands or not all(isinstance(band, int) and band >= 1 for band in bands):
                raise ValueError(f"bands are whole numbers from 1, such as [4, 3, 2], got {self.bands!r}")
            object.__setattr__(self, "bands", bands)
            object.__setattr__(self, "channels", len(bands))
        if self.page is not None and self.page < 1:
            raise ValueError(f"pages are counted from 1, got page = {self.page}")
        if self.channels < 1:
            raise ValueError(f"channels must be 1 or more, got {self.channels}")

    def to_json(self) -> dict[str, Any]:
        """Returns `range`, `bands` and `page` as JSON values, those that are not None."""
        found: dict[str, Any] = {}
        if self.range is not None:
            found["range"] = self.range if isinstance(self.range, str) else list(self.range)
        if self.bands is not None:
            found["bands"] = list(self.bands)
        if self.page is not None:
            found["page"] = self.page
        return found

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], channels: int = 3) -> "Pixels":
        """Returns what `to_json` stored, for a model of this number of channels."""
        span: Any = stored.get("range")
        bands = stored.get("bands")
        if span is not None and not isinstance(span, str):
            span = (span[0], span[1])
        return cls(span, None if bands is None else tuple(bands), stored.get("page"), channels)


class WarnOnce:
    """Warns of each doubt about images once, naming the first image."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def __call__(self, name: str, doubt: str) -> None:
        if doubt not in self.known:
            self.known.add(doubt)
            _warn(name, doubt)


def _warn(name: str, doubt: str) -> None:
    warnings.warn(f"{name}: {doubt}", stacklevel=4)


def read_picture(source: Any, pixels: Pixels = Pixels(), *, on_warning: Warn | None = None) -> np.ndarray:
    """Reads an image with values from 0 to 255.

    Palettes and CMYK are converted to RGB, and photos are rotated according to their EXIF orientation. Decoding needs
    at most seven bytes per pixel of an 8-bit RGB image: 2.8 GB for 20,000 x 20,000.

    Args:
        source: A path, a binary file object, a PIL image, or an array of integers or floats, `(H, W)` or `(H, W, C)`.
        pixels: What the numbers mean, and which of them to use.
        on_warning: A function that takes the name of the image and a text, for what is doubtful about it; None raises
            a warning for each.

    Returns:
        `(H, W, pixels.channels)`: uint8 for 8-bit images without a range (a view of an array where possible, so that a
        memory map is not read), float32 otherwise.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a readable image, has more than 400 million pixels, several pages or other bands than
            are expected, or values without a known range. The message names the file and the cure.

    Example:
        >>> read_picture(np.full((2, 3), 65535, "uint16"))[0, 0].tolist()
        [255.0, 255.0, 255.0]
        >>> read_picture(np.full((2, 3, 5), 1000, "int16"), Pixels(range=(0, 4000), bands=(4, 2)))[0, 0].tolist()
        [63.75, 63.75]
    """
    name, warn = name_of(source), on_warning or _warn
    is_file = isinstance(source, str | os.PathLike | Image.Image) or hasattr(source, "read")
    try:
        if is_file:
            decoded = image_file.decode(
                source,
                pixels.page,
                keep_alpha=pixels.bands is not None or pixels.channels in (2, 4),
                single_bands=pixels.bands is not None and max(pixels.bands) > 1,
            )
        else:
            decoded = image_file.of_array(np.asarray(source), pixels.page)
        values = selected(decoded, pixels, name, warn)
        limits = Limits.of(values, decoded, pixels, name, warn)
    except Refused as error:
        raise ValueError(f"{name}: {error}") from None
    return limits.channels(limits.scaled(values), pixels.channels)


def check_values(image: np.ndarray, name: str, warn: Warn) -> None:
    """Checks that an image of a data set is `(H, W, C)`, uint8 or float with values from 0 to 255.

    Args:
        image: The image.
        name: Its name, for messages.
        warn: A function that takes the name and what is doubtful.

    Raises:
        ValueError: If the shape, the type or the values are others.
    """
    if image.ndim != 3 or image.size == 0 or (image.dtype != np.uint8 and image.dtype.kind != "f"):
        raise ValueError(
            f"{name}: an image of a data set must be (H, W, C), uint8 or float with values from 0 to 255, "
            f"got {image.dtype} {image.shape}"
        )
    if image.dtype == np.uint8:
        return
    low, high = float(image.min()), float(image.max())
    if not 0 <= low <= high <= 255:  # nor NaN
        raise ValueError(
            f"{name}: images of a data set must have values from 0 to 255, got {low:g} to {high:g}: clip or scale them"
        )
    if 0 < high <= 1:
        warn(name, "values from 0 to 1 are nearly black (255 is white): multiply by 255")


def picture_size(path: str | os.PathLike[str], *, page: int | None = None) -> tuple[int, int]:
    """Returns height and width of an image file without decoding it.

    Args:
        path: The file.
        page: The page, if the file has several.

    Returns:
        Height and width after the rotation by the EXIF orientation, as `read_picture` returns the image.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a readable image; the message names the file.
    """
    return image_file.stored_size(path, page)


def selected(decoded: Decoded, pixels: Pixels, name: str, warn: Warn) -> np.ndarray:
    """Returns the bands to use, `(H, W, B)`: as many as channels, or gray for RGB, or RGB for gray."""
    values, wanted = decoded.values, pixels.channels
    count = values.shape[-1]
    if values.dtype.kind not in "uif":
        raise Refused(f"an image must have integers or floats, got {values.dtype}")
    if pixels.bands is not None:
        if max(pixels.bands) > count:
            raise Refused(f"bands = {list(pixels.bands)}, but there {'are' if count > 1 else 'is'} {count}")
        if pixels.bands == tuple(range(1, count + 1)):
            return values
        return values[..., [band - 1 for band in pixels.bands]]
    if count == wanted:
        return values
    if decoded.alpha is not None and (count - 1 == wanted or {count - 1, wanted} == {1, 3}):
        opacity = values[..., decoded.alpha]
        if not decoded.sure and ((opacity != 0) & (opacity != opacity.max())).any():
            warn(
                name,
                f"band {decoded.alpha + 1} of {count} is dropped as opacity: "
                f"choose bands, such as bands = {list(range(1, count + 1))} for all, if it is another band",
            )
        values = values[..., [band for band in range(count) if band != decoded.alpha]]
        count -= 1
    if count == wanted or {count, wanted} == {1, 3}:
        return values
    have = f"{count} band{'s' if count > 1 else ''} where {wanted} {'are' if wanted > 1 else 'is'} expected"
    if count > wanted:
        turned = ", or move the bands last (numpy.moveaxis(array, 0, -1))" if values.shape[0] == wanted else ""
        raise Refused(f"{have}: choose bands, such as bands = {list(range(1, wanted + 1))}{turned}")
    raise Refused(f"{have}: choose bands, such as bands = {list(range(1, count + 1))}" if wanted == 3 else have)


@dataclass(frozen=True)
class Limits:
    """The values of each band that become 0 and 255; None if the values stay as they are."""

    low: np.ndarray | None = None
    high: np.ndarray | None = None
    nodata: float | None = None

    @classmethod
    def of(cls, values: np.ndarray, decoded: Decoded, pixels: Pixels, name: str, warn: Warn) -> "Limits":
        """Finds the limits of an image; doubts go to `warn`."""
        kind, nodata = values.dtype.kind, decoded.nodata
        if pixels.range is None:
            if values.dtype == np.uint8:
                return cls()
            if values.dtype == np.uint16 or values.dtype == np.int16:
                return cls._of_16_bits(values, decoded.bits, nodata, name, warn)
            if kind != "f":
                raise Refused(f"{values.dtype} values have no known range: give one, such as range = [0, 4095]")
            return cls._of_floats(values, nodata, name, warn)
        missing = _missing(values, nodata)
        if kind == "f" and missing.any() and (nodata is None or not math.isnan(nodata)) and np.isnan(values).any():
            warn(name, "values that are not numbers (NaN) are read as 0")
        if isinstance(pixels.range, str):
            step = max(1, math.isqrt(values[..., 0].size // SAMPLED))
            sample = np.where(missing, np.nan, values)[::step, ::step].astype("float64")
            empty = np.isnan(sample).all(axis=(0, 1))
            low, high = np.nanpercentile(np.where(empty, 0, sample), PERCENTILES, axis=(0, 1))
            return cls(low, np.where(high > low, high, low + 1), nodata)
        low, high = pixels.range
        outside = ((values < low) | (values > high)) & ~missing
        if outside.mean() > 0.05:
            warn(name, f"more than 1 of 20 values lie outside range = [{low:g}, {high:g}] and are clipped")
        return cls(np.array(low), np.array(high), nodata)

    @classmethod
    def _of_16_bits(cls, values: np.ndarray, bits: int, nodata: float | None, name: str, warn: Warn) -> "Limits":
        full = 2 ** (bits - (values.dtype.kind == "i")) - 1
        valid = values if nodata is None else values[values != nodata]
        lowest, highest = (int(valid.min()), int(valid.max())) if valid.size else (0, 0)
        if lowest < 0:
            raise Refused("negative values have no known range: give one, such as range = [0, 4095]")
        if 0 < highest < (full + 1) / 8:
            used = 2 ** highest.bit_length() - 1
            warn(
                name,
                f"values up to {used:,} of {full:,} make a dark image: if that is all the camera gives, set "
                f'range = [0, {used}] or range = "percentile"; if the image is dark, range = [0, {full}]',
            )
        return cls(np.array(0.0), np.array(float(full)), nodata)

    @classmethod
    def _of_floats(cls, values: np.ndarray, nodata: float | None, name: str, warn: Warn) -> "Limits":
        valid = values if nodata is None else values[~_missing(values, nodata)]
        lowest, highest = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
        if not 0 <= lowest <= highest <= 255:  # nor NaN
            raise Refused(
                f"a float image must have values from 0 to 255, got {lowest:g} to {highest:g}: say what they mean, "
                f'such as range = [{-1 if -1 <= lowest < 0 else 0}, 1] or range = "percentile"'
            )
        if 0 < highest <= 1:
            warn(name, "values from 0 to 1 are nearly black (255 is white): multiply by 255, or give range = [0, 1]")
        return cls(nodata=nodata)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Scales pixels to 0 to 255; uint8 stays if there are no limits, everything else becomes float32."""
        if self.low is None or self.high is None:
            if values.dtype == np.uint8:
                return values
            found = values.astype("float32")
            if self.nodata is not None:
                found[_missing(values, self.nodata)] = 0
            return found
        found = np.empty(values.shape, "float32")
        factor = 255 / (self.high - self.low)
        rows = max(1, STRIP // values[0].size)
        for top in range(0, len(values), rows):
            part, out = values[top : top + rows], found[top : top + rows]
            out[:] = np.clip((part.astype("float64") - self.low) * factor, 0, 255)
            if self.nodata is not None or values.dtype.kind == "f":
                out[_missing(part, self.nodata)] = 0
        return found

    @staticmethod
    def channels(values: np.ndarray, wanted: int) -> np.ndarray:
        """Repeats gray for RGB, and converts RGB to gray as Pillow does."""
        if values.shape[-1] == wanted:
            return values
        if wanted == 3:
            return np.repeat(values, 3, axis=-1)
        if values.dtype == np.uint8:
            return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))[..., None]
        gray: np.ndarray = values @ np.array([[0.299], [0.587], [0.114]], "float32")
        return gray


def _missing(values: np.ndarray, nodata: float | None) -> np.ndarray:
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None and not math.isnan(nodata):
        missing |= values == nodata
    return missing
