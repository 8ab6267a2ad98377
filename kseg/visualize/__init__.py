"""Pictures of segmentations: uint8 RGB arrays `(H, W, 3)`. Save them with `PIL.Image.fromarray`."""

from kseg.visualize._curves import curves
from kseg.visualize._grid import grid
from kseg.visualize._legend import legend, with_legend
from kseg.visualize._overlay import borders, overlay
from kseg.visualize.color import colorize, rgb
from kseg.visualize.confusion import DEEP, confusion_picture
from kseg.visualize.errors import error_map
from kseg.visualize.palette import OKABE_ITO, VOID, Color, default_palette
from kseg.visualize.panels import class_panels, probability_panels
from kseg.visualize.reliability import reliability_diagram
from kseg.visualize.text import INK, PAPER

__all__ = [
    "DEEP",
    "INK",
    "OKABE_ITO",
    "PAPER",
    "VOID",
    "Color",
    "borders",
    "class_panels",
    "colorize",
    "confusion_picture",
    "curves",
    "default_palette",
    "error_map",
    "grid",
    "legend",
    "overlay",
    "probability_panels",
    "reliability_diagram",
    "rgb",
    "with_legend",
]
