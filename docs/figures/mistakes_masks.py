"""A label map that is enlarged by nearest neighbor and by bilinear interpolation."""

import numpy as np
from keras import ops

from docs.figures.metrics_pedestrians import without
from kseg import data, visualize
from kseg.layers import Resize


def resized(label: np.ndarray, interpolation: str, factor: int = 4) -> np.ndarray:
    """Enlarges a label map as if it were an image."""
    larger = Resize(factor=factor, interpolation=interpolation)(label[None, ..., None].astype("uint8"))
    return np.asarray(ops.convert_to_numpy(larger)[0, ..., 0])


def draw() -> np.ndarray:
    """Draws a part of a drawn street's label, enlarged in both ways."""
    street = data.load("streets", "test", size=(96, 128))
    _, label = street[0]
    part = without(label, 255)[16:64, :72]
    ways = {"label": part.repeat(4, 0).repeat(4, 1), "nearest": resized(part, "nearest")}
    ways["bilinear"] = resized(part, "bilinear")
    return visualize.grid(
        [[visualize.colorize(each, street.palette) for each in ways.values()]],
        titles=list(ways),
        font_size=18,
        footer=lambda width: visualize.legend(street.classes, street.palette, width=width),
    )
