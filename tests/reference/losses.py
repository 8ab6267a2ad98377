"""Losses written out pixel by pixel."""

import math


def cross_entropy(labels, logits, ignore_class=255, class_weights=None, pixel_weights=None):
    """sum(w * ce) / sum(w) over the labeled pixels of `(N, H, W)` labels and `(N, H, W, C)` logits."""
    numerator = denominator = 0.0
    for n in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = int(labels[n, y, x])
                if label == ignore_class:
                    continue
                scores = [float(score) for score in logits[n, y, x]]
                top = max(scores)
                log_sum = top + math.log(sum(math.exp(score - top) for score in scores))
                weight = 1.0 if class_weights is None else float(class_weights[label])
                weight *= 1.0 if pixel_weights is None else float(pixel_weights[n, y, x])
                numerator += weight * (log_sum - scores[label])
                denominator += weight
    return numerator / denominator if denominator else 0.0
