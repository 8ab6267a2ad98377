"""The values of an image that become black and white."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kseg.data.decoding.decoded import STRIP, Decoded, Refused
from kseg.data.pixels import Pixels, Warn

PERCENTILES = (1, 99)
SAMPLED = 2**20
"""Number of pixels from which percentiles are computed."""
NEARLY_BLACK = (
    "8-bit values of 0 and 1 are nearly black (255 is white): if the image was divided by 255, save it undivided"
)


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
                if nearly_black(values):
                    warn(name, f"{NEARLY_BLACK}; else give range = [0, 1]")
                return cls()
            if values.dtype == np.uint16 or values.dtype == np.int16:
                return cls._of_16_bits(values, decoded.bits, nodata, name, warn)
            if kind != "f":
                raise Refused(f"{values.dtype} values have no known range: {_stated(_valid(values, nodata))}")
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
            warn(name, f"more than 1 of 20 values lie outside {low:g} to {high:g} and are clipped")
        if values.dtype == np.uint8 and high > 255:
            text = f"range = [{low:g}, {high:g}] makes an image of 8 bits dark: save all images with the same bit depth"
            warn(name, text)
        return cls(np.array(low), np.array(high), nodata)

    @classmethod
    def _of_16_bits(cls, values: np.ndarray, bits: int, nodata: float | None, name: str, warn: Warn) -> "Limits":
        full = 2 ** (bits - (values.dtype.kind == "i")) - 1
        valid = _valid(values, nodata)
        lowest, highest = (int(valid.min()), int(valid.max())) if valid.size else (0, 0)
        if lowest < 0:
            raise Refused(f"negative values ({lowest} to {highest}) have no known range: {_stated(valid)}")
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
        valid = _valid(values, nodata)
        lowest, highest = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
        if not 0 <= lowest <= highest <= 255:  # nor NaN
            raise Refused(
                f"a float image must have values from 0 to 255, got {lowest:g} to {highest:g}: {_stated(valid)}"
            )
        if 0 < highest <= 1:
            text = (
                "values from 0 to 1 are nearly black (255 is white): multiply by 255, or for a file give range = [0, 1]"
            )
            warn(name, text)
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


def nearly_black(values: np.ndarray) -> bool:
    """Returns whether an image of 8 bits has the values 0 and 1 alone; reads little of one that has others."""
    return bool(values.size and values[len(values) // 2].max() <= 1 and values.max() == 1 and values.min() == 0)


def _valid(values: np.ndarray, nodata: float | None) -> np.ndarray:
    return values if nodata is None else values[~_missing(values, nodata)]


def _stated(values: np.ndarray) -> str:
    """Returns the end of a message about values without a known range: one that contains those at hand."""
    finite = values[np.isfinite(values)]
    low, high = (math.floor(min(0, finite.min())), math.ceil(max(0, finite.max()))) if finite.size else (0, 1)
    return f'say what they mean, such as range = [{low:g}, {max(high, low + 1):g}] or range = "percentile"'


def _missing(values: np.ndarray, nodata: float | None) -> np.ndarray:
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None and not math.isnan(nodata):
        missing |= values == nodata
    return missing
