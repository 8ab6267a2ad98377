"""From images of any kind and size to label maps, and to the formats in which they are kept."""

from kseg.inference._dense_crf import dense_crf
from kseg.inference._tune_crf import tune_crf
from kseg.inference.averaging import FLIPS
from kseg.inference.batching import Labeled
from kseg.inference.calibration import spread
from kseg.inference.comparison import OUTCOMES, Comparison, compare
from kseg.inference.engine import ENGINES
from kseg.inference.formats import ALWAYS_WRITTEN, FORMATS
from kseg.inference.labeling import PIXELS, Prediction, predictions
from kseg.inference.picture import read_image
from kseg.inference.predictor import Predictor
from kseg.inference.sources import list_images, output_names

__all__ = [
    "ALWAYS_WRITTEN", "ENGINES", "FLIPS", "FORMATS", "OUTCOMES", "PIXELS", "Comparison", "Labeled", "Prediction",
    "Predictor", "compare", "dense_crf", "list_images", "output_names", "predictions", "read_image", "spread",
    "tune_crf",
]  # fmt: skip
