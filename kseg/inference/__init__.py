"""From images of any kind and size to label maps, and to the forms in which people keep them."""

from kseg.inference.comparison import OUTCOMES, Comparison, compare
from kseg.inference.picture import read_image
from kseg.inference.predictor import Labelled, Predictor
from kseg.inference.sources import list_images, output_names

__all__ = ["OUTCOMES", "Comparison", "Labelled", "Predictor", "compare", "list_images", "output_names", "read_image"]
