"""The table of formats in which predicted label maps are written. A new format is a class and a line in `FORMATS`."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg import visualize
from kseg.data import georeference
from kseg.inference import coco, earth, polygons
from kseg.inference.objects import find_objects
from kseg.inference.opencv import load_opencv

LONGEST = 4096
"""Longest side of an overlay: overlays of larger images show every second, third, ... pixel."""


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
        """Returns the file of one image, or its part of a file for all images.

        `source` names the image in tables, and is the file in which the place of a georeferenced image is looked up.
        The image is `(H, W, C)`, uint8 or float32 with values from 0 to 255, or a `kseg.data.Raster`; the label is
        `(H, W)`, where 255 is void.
        """
        raise NotImplementedError

    def head(self) -> bytes:
        """Returns the beginning of a file for all images."""
        return b""

    def tail(self) -> bytes:
        """Returns the end of a file for all images."""
        return b""


class Masks(Format):
    """PNG files that show the palette and hold the class ids, as masks of a data set do; 16-bit gray for uint16."""

    path = "masks/{name}.png"

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        picture = Image.fromarray(label)
        if label.dtype == np.uint8:
            colors = np.zeros((256, 3), "uint8")  # with fewer, PNG files of 4 bits per pixel would lose 255
            colors[: len(self.palette)] = self.palette
            picture.putpalette(colors.tobytes())
        return _saved(picture, "PNG")


class GeoTiffs(Format):
    """GeoTIFF files with the place of the image, its palette and the class ids."""

    path = "masks/{name}.tif"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        super().__init__(classes, palette, details)
        earth.load_rasterio("GeoTIFF")  # if it is missing, fail before the first image

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        return earth.geotiff(label, self.palette, georeference(source))


class Arrays(Format):
    """NumPy files."""

    path = "labels/{name}.npy"

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        content = io.BytesIO()
        np.save(content, label)
        return content.getvalue()


class Polygons(Format):
    """GeoJSON files; see `kseg.inference.polygons.geojson`, and `earth.located` for georeferenced images."""

    path = "polygons/{name}.geojson"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        super().__init__(classes, palette, details)
        load_opencv("polygons")  # if it is missing, fail before the first image

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        without, simplify = self.details.background, self.details.simplify
        found = polygons.geojson(label, self.classes, without=without, simplify=simplify)
        if (place := georeference(source)) is not None:
            found = earth.located(found, place, self.details.crs)
        features = found.pop("features")
        begin = json.dumps(found).removesuffix("}")
        lines = b",\n".join(json.dumps(each).encode() for each in features)
        return f'{begin}, "features": [\n'.encode() + lines + b"\n]}\n"


class Coco(Format):
    """One COCO file for all images; see `kseg.inference.coco.annotations`."""

    path = "coco.json"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        super().__init__(classes, palette, details)
        self.images: list[dict[str, Any]] = []
        self.count = 0

    def head(self) -> bytes:
        kinds = enumerate(zip(self.classes, self.palette, strict=True))
        categories = [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in kinds
            if index not in self.details.background
        ]
        return f'{{"categories": {json.dumps(categories)},\n"annotations": ['.encode()

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        height, width = label.shape
        found = coco.annotations(label, len(self.classes), without=self.details.background)
        self.images.append({"id": len(self.images) + 1, "file_name": source, "width": width, "height": height})
        rows = []
        for annotation in found:
            self.count += 1
            row = {"id": self.count, "image_id": len(self.images), **annotation}
            rows.append((",\n" if self.count > 1 else "\n") + json.dumps(row))
        return "".join(rows).encode()

    def tail(self) -> bytes:
        return f'],\n"images": {json.dumps(self.images)}}}\n'.encode()


class Overlays(Format):
    """JPEG files to look at: the label map over its image, and a legend of the classes that occur."""

    path = "overlays/{name}.jpg"

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        return _saved(Image.fromarray(self.picture(image, label)), "JPEG", quality=90)

    def picture(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Draws a label map over the first three bands of its image, or over gray, with a legend of the classes."""
        step = -(-max(label.shape) // LONGEST)
        label = label[::step, ::step]
        return visualize.overlay(image[::step, ::step], label, self.palette, classes=self.classes)

    def frame(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Draws a frame of a video, with a legend of all classes, so that frames have one size."""
        return visualize.with_legend(visualize.overlay(image, label, self.palette), self.classes, self.palette)


class Areas(Format):
    """One table with the area of each class in each image."""

    path = "areas.csv"

    def head(self) -> bytes:
        return _row(
            "image", "id", "class", "pixels", "share", *(["real_area", "unit"] if self.details.measured else [])
        )

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        counts = np.zeros(2**16, "int64")
        for rows in np.array_split(label, -(-label.size // 2**22)):  # bincount converts its input to int64
            counts += np.bincount(rows.reshape(-1), minlength=2**16)
        size = self.details.pixel(source, label)
        table = []
        for index, (name, area) in enumerate(zip(self.classes, counts[: len(self.classes)].tolist(), strict=True)):
            real = [_real(area * size.area), size.unit] if size else [""] * 2 * self.details.measured
            table.append(_row(source, index, name, area, round(area / label.size, 6), *real))
        return b"".join(table)


class ObjectTable(Format):
    """One table with the objects of all images, i.e. connected regions; see `kseg.inference.objects`.

    `id` numbers the objects of an image from 1, as `object` in GeoJSON does.
    """

    path = "objects.csv"
    MEASURES = ("area", "box_x", "box_y", "box_width", "box_height", "centroid_x", "centroid_y")

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        super().__init__(classes, palette, details)
        self.counts = np.zeros(len(classes), "int64")

    def head(self) -> bytes:
        real = [*(f"real_{name}" for name in self.MEASURES), "unit"] if self.details.measured else []
        return _row("image", "class", "id", *self.MEASURES, *real)

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        found = find_objects(label, len(self.classes), without=self.details.background)
        size = self.details.pixel(source, label)
        blank = [""] * (len(self.MEASURES) + 1) * self.details.measured
        rows = []
        measures = [found.areas[:, None], found.boxes, found.centroids]
        columns = [column for part in measures for column in part.T.tolist()]
        for number, (index, area, *lengths) in enumerate(zip(found.classes.tolist(), *columns, strict=True), start=1):
            real: list[Any] = blank
            if size:
                scaled = (
                    _real(length * side) for length, side in zip(lengths, [size.width, size.height] * 3, strict=True)
                )
                real = [_real(area * size.area), *scaled, size.unit]
            lengths = [round(length, 3) for length in lengths]
            rows.append(_row(source, self.classes[index], number, area, *lengths, *real))
        self.counts += np.bincount(found.classes, minlength=len(self.classes))
        return b"".join(rows)


FORMATS: dict[str, type[Format]] = {"png": Masks, "tif": GeoTiffs, "npy": Arrays, "geojson": Polygons, "coco": Coco}
"""Formats by the names that `kseg predict --format` takes."""
ALWAYS_WRITTEN: tuple[type[Format], ...] = (Overlays, Areas, ObjectTable)
"""Formats that are written unless they are turned off."""


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def _row(*cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="backslashreplace")  # names of files may be in another encoding


def _real(value: float) -> float:
    return float(f"{value:.6g}")
