"""From images of any kind and size to label maps."""

from kseg.inference.dense_crf import dense_crf
from kseg.inference.picture import read_image
from kseg.inference.predictor import Predictor
from kseg.inference.tune_crf import tune_crf

__all__ = ["Predictor", "dense_crf", "read_image", "tune_crf"]
