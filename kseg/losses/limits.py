"""The values that options of kseg's losses may have: with others, training would learn nothing or the wrong thing."""

import contextlib
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
NORMALIZERS = ("weights", "pixels")


def check_options(options: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the first option whose value is not allowed."""
    for name in options.keys() & LIMITS.keys():
        _check_number(name, options[name])
    if options.get("class_weights") is not None:
        list_of_weights(options["class_weights"])
    if options.get("normalizer", "weights") not in NORMALIZERS:
        raise ValueError(f"normalizer must be 'weights' or 'pixels', got {options['normalizer']!r}")


def _check_number(name: str, value: Any) -> None:
    (low, high), is_number = LIMITS[name], isinstance(value, int | float | np.number)
    must = "a number, 0 or more" if math.isinf(high) else f"a number from {low:g} to {high:g}"
    if not is_number or not low <= value <= high or math.isinf(value):
        raise ValueError(f"{name} must be {must}, got {value!r}")
    if name == "sigma" and value == 0:
        raise ValueError("sigma must be above 0, got 0: the loss divides by it")
    if name == "label_smoothing" and value == 1:
        raise ValueError("label_smoothing must be below 1, got 1: every label would be the same")


def list_of_weights(weights: Any) -> list[float]:
    """Returns class weights as numbers; raises a ValueError if they are none, or not allowed."""
    found = []
    with contextlib.suppress(TypeError, ValueError):
        found = [] if isinstance(weights, Mapping) else [float(weight) for weight in weights]
    if not found or not all(0 <= weight < math.inf for weight in found) or max(found) == 0:
        raise ValueError(f"class_weights must be a list of numbers, 0 or more and one of them above 0, got {weights}")
    return found
