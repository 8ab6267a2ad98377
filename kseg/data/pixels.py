"""What the numbers of image files mean."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kseg.data.wording import reword

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
    """Warns of each doubt about images once, naming the first image; `interface` is that of `warn`."""

    def __init__(self, interface: str | None = None) -> None:
        self.known: set[str] = set()
        self.interface = interface

    def __call__(self, name: str, doubt: str) -> None:
        if doubt not in self.known:
            self.known.add(doubt)
            warn(name, doubt, interface=self.interface)


def warn(name: str, doubt: str, *, interface: str | None = None) -> None:
    """Warns of what is doubtful about an image, with options as in an interface; see `kseg.data.wording.reword`."""
    doubt = doubt if interface is None else reword(doubt, interface)
    warnings.warn(f"{name}: {doubt}", stacklevel=4)
