"""Scores: one confusion matrix for most of them; borders and calibration beside it."""

from kseg.metrics.borders import boundary_f1, trimap_scores
from kseg.metrics.calibration import calibration
from kseg.metrics.confusion import SegmentationScores, scores
from kseg.metrics.table import per_class

__all__ = ["SegmentationScores", "boundary_f1", "calibration", "per_class", "scores", "trimap_scores"]
