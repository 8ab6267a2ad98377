"""The table of formats in which predicted label maps are written. A new format is a class and a line in `FORMATS`."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg import visualize
from kseg.inference import coco, polygons

LONGEST = 4096
"""Longest side of an overlay: overlays of larger images show every second, third, ... pixel."""


class Format:
    """One format during one command, for class names and a palette of one (R, G, B), 0 to 255, per class."""

    path: str
    """Relative path: with `{name}`, one file per image; without, one file for all images."""

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]]):
        self.classes, self.palette = classes, palette

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        """Returns the file of one image, or its part of a file for all images.

        `source` names the image in tables; the image is uint8 `(H, W, C)`, the label `(H, W)`, where 255 is void.
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


class Arrays(Format):
    """NumPy files."""

    path = "labels/{name}.npy"

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        content = io.BytesIO()
        np.save(content, label)
        return content.getvalue()


class Polygons(Format):
    """GeoJSON files; see `kseg.inference.polygons.geojson`."""

    path = "polygons/{name}.geojson"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]]):
        super().__init__(classes, palette)
        polygons.load_opencv()  # if it is missing, fail before the first image

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        return json.dumps(polygons.geojson(label, self.classes)).encode()


class Coco(Format):
    """One COCO file for all images; see `kseg.inference.coco.annotations`."""

    path = "coco.json"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]]):
        super().__init__(classes, palette)
        self.images: list[dict[str, Any]] = []
        self.count = 0

    def head(self) -> bytes:
        kinds = enumerate(zip(self.classes, self.palette, strict=True))
        categories = [{"id": index, "name": name, "color": list(color)} for index, (name, color) in kinds]
        return f'{{"categories": {json.dumps(categories)},\n"annotations": ['.encode()

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        height, width = label.shape
        self.images.append({"id": len(self.images) + 1, "file_name": source, "width": width, "height": height})
        rows = []
        for annotation in coco.annotations(label, len(self.classes)):
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
        """Draws a label map over its image `(H, W, 3 or 1)`."""
        step = -(-max(label.shape) // LONGEST)
        label = label[::step, ::step]
        picture = visualize.overlay(image[::step, ::step], label, self.palette)
        present = [index for index in np.unique(label) if index < len(self.classes)]
        names, colors = [self.classes[index] for index in present], [self.palette[index] for index in present]
        return visualize.with_legend(picture, names, colors) if names else picture


class Areas(Format):
    """One table with the area of each class in each image."""

    path = "areas.csv"

    def head(self) -> bytes:
        return _row("image", "id", "class", "pixels", "share")

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        counts = np.zeros(2**16, "int64")
        for rows in np.array_split(label, -(-label.size // 2**22)):  # bincount converts its input to int64
            counts += np.bincount(rows.reshape(-1), minlength=2**16)
        areas = enumerate(zip(self.classes, counts[: len(self.classes)].tolist(), strict=True))
        return b"".join(_row(source, index, name, area, round(area / label.size, 6)) for index, (name, area) in areas)


FORMATS: dict[str, type[Format]] = {"png": Masks, "npy": Arrays, "geojson": Polygons, "coco": Coco}
"""Formats by the names that `kseg predict --format` takes."""
ALWAYS_WRITTEN: tuple[type[Format], ...] = (Overlays, Areas)
"""Formats that are always written."""


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def _row(*cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
