"""From images of any kind and size to label maps, and to the formats in which they are kept."""

import importlib
from typing import TYPE_CHECKING

from kseg.data import read_picture as read_image  # the name in the first edition
from kseg.engines import Exported, is_exported, is_out_of_memory
from kseg.inference._dense_crf import dense_crf
from kseg.inference._tune_crf import tune_crf
from kseg.inference.averaging import FLIPS
from kseg.inference.batching import Labeled
from kseg.inference.calibration import calibration_images, fitted, spread
from kseg.inference.comparison import OUTCOMES, Comparison, compare
from kseg.inference.earth import WGS84, checked_crs
from kseg.inference.format import Details, Format, background
from kseg.inference.formats import ALWAYS_WRITTEN, FORMATS, Overlays
from kseg.inference.labeling import PIXELS, Prediction, predictions
from kseg.inference.objects import Objects, find_objects
from kseg.inference.predictor import Predictor
from kseg.inference.sources import LONGEST_NAME, list_images, output_names
from kseg.inference.stored import PARQUET, StoredImage, filesystem, list_stored
from kseg.inference.tables import ObjectTable
from kseg.inference.video import Frames, VideoWriter, is_video

if TYPE_CHECKING:
    from kseg.engines import ENGINES, check_model

__all__ = [
    "ALWAYS_WRITTEN", "ENGINES", "FLIPS", "FORMATS", "LONGEST_NAME", "OUTCOMES", "PARQUET", "PIXELS", "WGS84",
    "Comparison", "Details", "Exported", "Format", "Frames", "Labeled", "ObjectTable", "Objects", "Overlays",
    "Prediction", "Predictor", "StoredImage", "VideoWriter", "background", "calibration_images", "check_model",
    "checked_crs", "compare", "dense_crf", "filesystem", "find_objects", "fitted", "is_exported", "is_out_of_memory",
    "is_video", "list_images", "list_stored", "output_names", "predictions", "read_image", "spread", "tune_crf",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    if name in ("ENGINES", "check_model"):  # their module needs Keras, exported models do not
        return getattr(importlib.import_module("kseg.engines"), name)
    raise AttributeError(f"module 'kseg.inference' has no attribute {name!r}")
