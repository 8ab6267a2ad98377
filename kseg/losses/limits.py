"""The values that options of losses may have: others would train, and learn nothing or the wrong thing."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LIMITS: dict[str, tuple[float, float]] = {
    "label_smoothing": (0, 1),
    "gamma": (0, math.inf),
    "smooth": (0, math.inf),
    "alpha": (0, math.inf),
    "beta": (0, math.inf),
    "threshold": (0, 1),
    "min_kept": (0, 1),
    "w0": (0, math.inf),
    "sigma": (0, math.inf),
}
"""The smallest and the largest value of an option, which must be finite."""
POSITIVE = {"sigma"}
"""Options by which a loss divides."""
NORMALIZERS = ("weights", "pixels")


def check_options(options: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the first option whose value is not allowed."""
    for name, value in options.items():
        if name in LIMITS:
            low, high = LIMITS[name]
            if not low <= value <= high or math.isinf(value) or (name in POSITIVE and value == 0):
                above = "above 0" if name in POSITIVE else f"{low:g} or more" if math.isinf(high) else f"0 to {high:g}"
                raise ValueError(f"{name} must be {above}, got {value}")
    if options.get("class_weights") is not None:
        check_class_weights(np.asarray(options["class_weights"]))
    if options.get("normalizer", "weights") not in NORMALIZERS:
        raise ValueError(f"normalizer must be 'weights' or 'pixels', got {options['normalizer']!r}")


def check_class_weights(weights: np.ndarray) -> None:
    """Raises a ValueError if a weight is negative, infinite or NaN, or if all are 0."""
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise ValueError(f"class_weights must be 0 or more, and one of them above 0, got {weights.tolist()}")
