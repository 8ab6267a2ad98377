"""Scores written out pixel by pixel and class by class."""

import math


def confusion_matrix(y_true, y_pred, classes, ignore_class=255):
    """Counts as a list of rows, true class first."""
    matrix = [[0] * classes for _ in range(classes)]
    for true, predicted in zip(y_true.ravel().tolist(), y_pred.ravel().tolist(), strict=True):
        if true != ignore_class:
            matrix[true][predicted] += 1
    return matrix


def scores(matrix):
    """The four scores, and the IoU of each class (nan where absent)."""
    classes = range(len(matrix))
    total = sum(map(sum, matrix))
    ious, recalls, weighted = [], [], 0.0
    for c in classes:
        hit = matrix[c][c]
        missed = sum(matrix[c][j] for j in classes if j != c)
        false = sum(matrix[i][c] for i in classes if i != c)
        ious.append(hit / (hit + missed + false) if hit + missed + false else math.nan)
        if hit + missed:
            recalls.append(hit / (hit + missed))
            weighted += (hit + missed) / total * ious[c]
    present = [iou for iou in ious if not math.isnan(iou)]
    return {
        "miou": sum(present) / len(present),
        "pixel_accuracy": sum(matrix[c][c] for c in classes) / total,
        "mean_accuracy": sum(recalls) / len(recalls),
        "frequency_weighted_iou": weighted,
        "iou": ious,
    }
