"""A Parquet file with the label maps and the areas of all images."""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.inference.format import Details, Format
from kseg.inference.masks import encoded
from kseg.inference.packages import load_pyarrow
from kseg.inference.tables import class_areas

GROUP_ROWS, GROUP_BYTES = 1024, 2**26
"""Number of images, and of bytes of their masks, after which a group of rows is written."""


class Parquet(Format):
    """One Parquet file with a row per image: its name, its size, its mask as a PNG file, and the areas of the classes.

    The metadata of the file have the key `kseg`, JSON with the names of the classes and the palette.
    """

    path = "labels.parquet"

    def __init__(self, classes: Sequence[str], palette: Sequence[Sequence[int]], details: Details = Details()):
        super().__init__(classes, palette, details)
        load_pyarrow("--format parquet")  # if it is missing, fail before the first image
        self._sink = _Sink()
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []

    def encode(self, source: str, image: np.ndarray, label: np.ndarray) -> bytes:
        height, width = label.shape
        row = {"image": source.encode(errors="backslashreplace").decode(), "height": height, "width": width}
        mask = base64.b64encode(encoded(label, self.palette)).decode()
        areas = class_areas(label, len(self.classes))
        return json.dumps({**row, "mask": mask, "areas": areas}).encode()

    def append(self, part: bytes) -> bytes:
        row = json.loads(part)
        self._rows.append(row | {"mask": base64.b64decode(row["mask"])})
        if len(self._rows) >= GROUP_ROWS or sum(len(each["mask"]) for each in self._rows) >= GROUP_BYTES:
            self._write()
        return self._sink.drained()

    def tail(self) -> bytes:
        self._write()
        self._writer.close()
        self._writer = None
        return self._sink.drained()

    def _write(self) -> None:
        arrow = load_pyarrow("--format parquet")
        if self._writer is None:
            description = json.dumps({"classes": list(self.classes), "palette": [list(each) for each in self.palette]})
            columns = {"image": arrow.string(), "height": arrow.int32(), "width": arrow.int32()}
            columns |= {"mask": arrow.binary(), "areas": arrow.list_(arrow.int64())}
            schema = arrow.schema(columns, {"kseg": description})
            self._writer = arrow.parquet.ParquetWriter(self._sink, schema)
        if self._rows:
            self._writer.write_table(arrow.Table.from_pylist(self._rows, self._writer.schema))
        self._rows = []


class _Sink(io.RawIOBase):
    """A file whose content is taken away while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def drained(self) -> bytes:
        """Returns what was written since the last call."""
        content, self._parts = b"".join(self._parts), []
        return content
