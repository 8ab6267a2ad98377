"""A drawn street, its label map and both together: what semantic segmentation is."""

import numpy as np

from kseg import data, visualize


def draw() -> np.ndarray:
    """Returns three panels with a legend."""
    streets = data.load("streets", "val", size=(180, 240), count=4)
    image, labels = streets[1]
    palette = streets.palette
    overlay = visualize.overlay(image, labels, palette)
    panels = [[image, visualize.colorize(labels, palette), overlay]]
    legend = visualize.legend(streets.classes, palette, width=740)
    return visualize.grid(panels, titles=["image", "label map", "overlay"], footer=legend)
