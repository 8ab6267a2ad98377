"""Answers: a label map as a mask, an overlay, GeoJSON, COCO, or JSON with the areas of the classes."""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg import inference, visualize

ANSWERS: dict[str, tuple[type[inference.Format], str]] = {
    "png": (inference.FORMATS["png"], "image/png"),
    "overlay": (inference.Overlays, "image/jpeg"),
    "geojson": (inference.FORMATS["geojson"], "application/geo+json"),
    "coco": (inference.FORMATS["coco"], "application/json"),
}
"""What writes an answer of each format, and its media type; `json` is written by `Answers`."""
MOST_RUNS = 2**18
"""Most changes of the label along rows or columns in a label map that becomes GeoJSON or COCO."""


class Answers:
    """Encodes label maps.

    Args:
        classes: Names of the classes.
        palette: Colors of the classes, `(R, G, B)`.
        background: Ids of the classes that are background.
    """

    def __init__(self, classes: Sequence[str], palette: Sequence[tuple[int, int, int]], background: tuple[int, ...]):
        self.classes, self.palette, self.background = list(classes), list(palette), background

    def encode(
        self, image: np.ndarray, label: np.ndarray, format: str, *, picture: bool, doubts: list[str]
    ) -> tuple[bytes, str]:
        """Encodes a label map.

        Args:
            image: The image, `(H, W, C)`, values 0 to 255.
            label: Its class ids, integers `(H, W)`.
            format: A key of `ANSWERS`, or `"json"`.
            picture: Whether `"json"` contains the image.
            doubts: What is doubtful about the image.

        Returns:
            The content and its media type.

        Raises:
            ValueError: If the label map has too many changes for polygons.
        """
        if format == "json":
            summary = self._summary(image, label, picture) | {"warnings": doubts}
            return json.dumps(summary).encode(), "application/json"
        if format in ("geojson", "coco"):
            runs = max(np.count_nonzero(label[1:] != label[:-1]), np.count_nonzero(label[:, 1:] != label[:, :-1]))
            if runs > MOST_RUNS:
                raise ValueError(
                    f"the label map changes {runs:,} times along its rows or columns, more than {MOST_RUNS:,}: "
                    "take format=png, or send a smaller image"
                )
        kind, media = ANSWERS[format]
        form = kind(self.classes, self.palette, inference.Details(self.background))
        return form.head() + form.append(form.encode("image", image, label)) + form.tail(), media

    def _summary(self, image: np.ndarray, label: np.ndarray, picture: bool) -> dict[str, Any]:
        counts = np.bincount(label.reshape(-1), minlength=len(self.classes)).tolist()
        areas = [
            {"id": index, "class": name, "pixels": counts[index], "share": round(counts[index] / label.size, 6)}
            for index, name in enumerate(self.classes)
        ]
        if label.dtype == np.uint8:
            mask = ANSWERS["png"][0](self.classes, self.palette).encode("image", image, label)
        else:  # browsers show 16-bit gray, not its colors
            mask = _png(visualize.colorize(label, self.palette))
        found: dict[str, Any] = {"height": label.shape[0], "width": label.shape[1], "areas": areas, "mask": _url(mask)}
        return found | ({"picture": _url(_png(visualize.rgb(image)))} if picture else {})


def _png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
