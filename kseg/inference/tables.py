"""Tables with the areas and the objects of all images."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.inference.format import Details, Format
from kseg.inference.objects import find_objects


def class_areas(label: np.ndarray, count: int) -> list[int]:
    """Returns the number of pixels of each class in a label map."""
    counts = np.zeros(2**16, "int64")
    for rows in np.array_split(label, -(-label.size // 2**22)):  # bincount converts its input to int64
        counts += np.bincount(rows.reshape(-1), minlength=2**16)
    found: list[int] = counts[:count].tolist()
    return found


class Areas(Format):
    """One table with the area of each class in each image."""

    path = "areas.csv"

    def head(self) -> bytes:
        return _row(
            "image", "id", "class", "pixels", "share", *(["real_area", "unit"] if self.details.measured else [])
        )

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        size = self.details.pixel(source, label)
        table, areas = [], class_areas(label, len(self.classes))
        for index, (name, area) in enumerate(zip(self.classes, areas, strict=True)):
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
        counts = np.bincount(found.classes, minlength=len(self.classes)).tolist()
        return json.dumps({"counts": counts, "rows": b"".join(rows).decode()}).encode()

    def append(self, part: bytes) -> bytes:
        found = json.loads(part)
        self.counts += found["counts"]
        rows: str = found["rows"]
        return rows.encode()


def _row(*cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="backslashreplace")  # names of files may be in another encoding


def _real(value: float) -> float:
    return float(f"{value:.6g}")
