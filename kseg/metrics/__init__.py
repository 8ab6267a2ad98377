"""Scores of segmentations: from a confusion matrix, near the borders of classes, and of the calibration."""

from kseg.metrics._calibration import calibration
from kseg.metrics.borders import boundary_f1, trimap_scores
from kseg.metrics.confusion import confusion_matrix, scores
from kseg.metrics.output import gives_logits
from kseg.metrics.segmentation_scores import SegmentationScores, classes_of
from kseg.metrics.table import per_class

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
