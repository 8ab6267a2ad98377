"""From images of any kind and size to label maps."""

from kseg.inference.picture import read_image
from kseg.inference.predictor import Predictor

__all__ = ["Predictor", "read_image"]
