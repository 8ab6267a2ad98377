"""What all formats of predicted label maps have in common."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kseg.data import georeference
from kseg.inference import earth

BACKGROUND = ("background", "bg", "unlabeled", "unlabelled")
"""Names of the class of pixels that belong to no object, without underscores and spaces around."""


def background(classes: Sequence[str], *, binary: bool) -> tuple[int, ...]:
    """Returns the ids of the classes that are no objects: those named so, and class 0 of a binary model.

    Example:
        >>> background(["_background_", "leaf"], binary=False), background(["sky", "road"], binary=False)
        ((0,), ())
    """
    named = [index for index, name in enumerate(classes) if name.strip(" _").casefold() in BACKGROUND]
    return tuple(sorted({*named, *[0] * binary}))


@dataclasses.dataclass(frozen=True)
class Details:
    """What formats leave out and in which units they measure.

    Attributes:
        background: Class ids that polygons, COCO and tables of objects leave out; see `background`.
        simplify: Tolerance of polygons in pixels; see `kseg.inference.polygons.geojson`.
        pixel_size: Side of a pixel in real units, for tables; None if unknown.
        unit: The name of that unit, e.g. `"um"`; may be empty.
        georeferenced: Whether images may say how large their pixels are, so that tables have columns for it.
        crs: The reference system of the polygons of georeferenced images; see `kseg.inference.earth.located`.
    """

    background: tuple[int, ...] = ()
    simplify: float = 0
    pixel_size: float | None = None
    unit: str = ""
    georeferenced: bool = False
    crs: str = earth.WGS84

    @property
    def measured(self) -> bool:
        """Whether tables have columns in real units."""
        return self.georeferenced or self.pixel_size is not None

    def pixel(self, source: str, label: np.ndarray) -> earth.PixelSize | None:
        """Returns the size of the pixels of an image; None if it is unknown."""
        if self.pixel_size is not None:
            return earth.PixelSize(self.pixel_size, self.pixel_size, self.pixel_size**2, self.unit)
        place = georeference(source) if self.georeferenced else None
        return None if place is None else earth.pixel_size(place, label.shape)


class Format:
    """One format during one command, for class names and a palette of one (R, G, B), 0 to 255, per class."""

    path: str
    """Relative path: with `{name}`, one file per image; without, one file for all images."""

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        self.classes, self.palette, self.details = classes, palette, details

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        """Returns the file of one image, or what `append` needs of it for a file for all images.

        The latter is text in UTF-8 and depends on this image alone, so that images may be encoded in any order.

        `source` names the image in tables, and is the file in which the place of a georeferenced image is looked up.
        The image is `(H, W, C)`, uint8 or float32 with values from 0 to 255, or a `kseg.data.Raster`; the label is
        `(H, W)`, where 255 is void.
        """
        raise NotImplementedError

    def head(self) -> bytes:
        """Returns the beginning of a file for all images."""
        return b""

    def append(self, part: bytes) -> bytes:
        """Returns the next piece of a file for all images, from what `encode` returned for the next image."""
        return part

    def tail(self) -> bytes:
        """Returns the end of a file for all images."""
        return b""
