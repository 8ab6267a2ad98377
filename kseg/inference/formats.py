"""The table of formats in which predicted label maps are written. A new format is a class and a line in `FORMATS`."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg import visualize
from kseg.data import georeference
from kseg.inference import coco, earth, polygons
from kseg.inference.format import Details, Format
from kseg.inference.masks import encoded
from kseg.inference.opencv import load_opencv
from kseg.inference.parquet import Parquet
from kseg.inference.tables import Areas, ObjectTable

LONGEST = 4096
"""Longest side of an overlay: overlays of larger images show every second, third, ... pixel."""


class Masks(Format):
    """PNG files that show the palette and hold the class ids, as masks of a data set do; 16-bit gray for uint16."""

    path = "masks/{name}.png"

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        return encoded(label, self.palette)


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
        found = coco.annotations(label, len(self.classes), without=self.details.background)
        return json.dumps({"file_name": source, "size": label.shape, "annotations": found}).encode()

    def append(self, part: bytes) -> bytes:
        found = json.loads(part)
        height, width = found["size"]
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": found["file_name"], "width": width, "height": height})
        rows = []
        for annotation in found["annotations"]:
            self.count += 1
            row = {"id": self.count, "image_id": number, **annotation}
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


FORMATS: dict[str, type[Format]] = {
    "png": Masks, "tif": GeoTiffs, "npy": Arrays, "geojson": Polygons, "coco": Coco, "parquet": Parquet,
}  # fmt: skip
"""Formats by the names that `kseg predict --format` takes."""
ALWAYS_WRITTEN: tuple[type[Format], ...] = (Overlays, Areas, ObjectTable)
"""Formats that are written unless they are turned off."""


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()
