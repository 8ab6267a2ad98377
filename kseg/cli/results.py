"""What `kseg predict` leaves behind: label maps in the forms asked for, overlays, and one table of areas."""

import csv
import io
import itertools
import json
import pathlib
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import IO, Any, BinaryIO

import numpy as np
from PIL import Image

from kseg.inference import coco, formats, polygons
from kseg.pretrained import atomic_write

FORMATS = ("png", "npy", "geojson", "coco")
IN_MEMORY = 2**24
"""Bytes of the files that grow with every image; beyond, they wait on disk."""


class Results:
    """A folder of results, to be used in a `with`; every file in it appears whole or not at all.

    `masks/*.png` show the palette and keep the ids, `overlays/*.jpg` are for looking at; `labels/*.npy`,
    `polygons/*.geojson` and `coco.json` on demand; `areas.csv` has a row an image and class.

    Args:
        folder: Where it all goes.
        chosen: Some of `FORMATS`.
        classes: Names in the order of their ids.
        palette: One (R, G, B) a class.

    Raises:
        ImportError: Polygons are asked for and OpenCV is not there.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        chosen: Collection[str],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
    ):
        self.folder, self.chosen, self.classes, self.palette = folder, chosen, classes, palette
        if "geojson" in chosen:
            polygons.load_opencv()  # better now than after the first image
        self.images: list[dict[str, Any]] = []
        self.annotations = self.done = 0
        self.areas, self.coco = (tempfile.SpooledTemporaryFile(IN_MEMORY) for _ in range(2))  # noqa: SIM115
        self._areas("image", "id", "class", "pixels", "share")

    def add(self, name: str, source: str, image: np.ndarray, label: np.ndarray) -> None:
        """Writes all that belongs to one image.

        Args:
            name: What its files are called, without suffix.
            source: What the image is called in the table.
            image: uint8 `(H, W, 3)`, or `(H, W, 1)` if gray.
            label: uint8 or uint16 `(H, W)`.
        """
        if "png" in self.chosen:
            picture = formats.palette_picture(label, self.palette)
            self._save(f"masks/{name}.png", lambda file: picture.save(file, "PNG"))
        if "npy" in self.chosen:
            self._save(f"labels/{name}.npy", lambda file: np.save(file, label))
        if "geojson" in self.chosen:
            found = json.dumps(polygons.geojson(label, self.classes))
            atomic_write(self.folder / f"polygons/{name}.geojson", found.encode())
        if "coco" in self.chosen:
            self._annotate(source, label)
        overlay = Image.fromarray(formats.overlay_picture(image, label, self.classes, self.palette))
        self._save(f"overlays/{name}.jpg", lambda file: overlay.save(file, "JPEG", quality=90))
        for row in formats.class_areas(label, self.classes):
            self._areas(source, *row.values())
        self.done += 1

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the files that hold all images: those that were done, where it was cut short."""
        with self.areas, self.coco:
            if kind is None or self.done:
                self._close()

    def _close(self) -> None:
        if "coco" in self.chosen:
            kinds = zip(self.classes, self.palette, strict=True)
            categories = [{"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(kinds)]
            start = f'{{"categories": {json.dumps(categories)},\n"annotations": ['
            end = f'],\n"images": {json.dumps(self.images)}}}\n'
            pieces = itertools.chain([start.encode()], _pieces(self.coco), [end.encode()])
            atomic_write(self.folder / "coco.json", pieces)
        atomic_write(self.folder / "areas.csv", _pieces(self.areas))

    def _save(self, name: str, save: Callable[[BinaryIO], Any]) -> None:
        content = io.BytesIO()
        save(content)
        atomic_write(self.folder / name, [content.getbuffer()])

    def _annotate(self, source: str, label: np.ndarray) -> None:
        image = len(self.images) + 1
        height, width = label.shape
        self.images.append({"id": image, "file_name": source, "width": width, "height": height})
        for annotation in coco.annotations(label, len(self.classes)):
            separator = ",\n" if self.annotations else "\n"
            self.annotations += 1
            row = {"id": self.annotations, "image_id": image, **annotation}
            self.coco.write((separator + json.dumps(row)).encode())

    def _areas(self, *row: Any) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        self.areas.write(text.getvalue().encode())


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(2**20), b"")
