"""From images of any kind and size to label maps, and to the forms in which people keep them."""

from kseg.inference.comparison import OUTCOMES, Comparison, compare
from kseg.inference.dense_crf import dense_crf
from kseg.inference.picture import read_image
from kseg.inference.predictor import Labelled, Predictor
from kseg.inference.sources import list_images, output_names
from kseg.inference.tune_crf import tune_crf

__all__ = [
    "OUTCOMES", "Comparison", "Labelled", "Predictor", "compare", "dense_crf", "list_images", "output_names",
    "read_image", "tune_crf",
]  # fmt: skip
