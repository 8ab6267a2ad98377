"""Scores: one confusion matrix for most of them; borders and calibration beside it."""

from kseg.metrics.borders import boundary_f1, trimap_scores
from kseg.metrics.calibration import calibration
from kseg.metrics.confusion import confusion_matrix, scores
from kseg.metrics.output import gives_logits
from kseg.metrics.segmentation_scores import SegmentationScores, classes_of
from kseg.metrics.table import per_class

__all__ = [
    "SegmentationScores", "boundary_f1", "calibration", "classes_of", "confusion_matrix", "gives_logits",
    "per_class", "scores",
    "trimap_scores",
]  # fmt: skip
