"""Scores of segmentations: from a confusion matrix, near the borders of classes, and of the calibration."""

import importlib
from typing import TYPE_CHECKING

from kseg.metrics._calibration import calibration
from kseg.metrics.borders import boundary_f1, trimap_scores
from kseg.metrics.confusion import confusion_matrix, scores
from kseg.metrics.table import per_class

if TYPE_CHECKING:
    from kseg.metrics.output import gives_logits
    from kseg.metrics.segmentation_scores import SegmentationScores, classes_of

__all__ = [
    "SegmentationScores",
    "boundary_f1",
    "calibration",
    "classes_of",
    "confusion_matrix",
    "gives_logits",
    "per_class",
    "scores",
    "trimap_scores",
]

_KERAS = {"gives_logits": "output", "SegmentationScores": "segmentation_scores", "classes_of": "segmentation_scores"}
"""The modules that need Keras, imported on first use: exported models run and are scored without it."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    if name in _KERAS:
        return getattr(importlib.import_module(f"kseg.metrics.{_KERAS[name]}"), name)
    raise AttributeError(f"module 'kseg.metrics' has no attribute {name!r}")
