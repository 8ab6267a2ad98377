"""Losses: functions, and classes for `compile` that can be weighted and added. `LOSSES` contains the classes by name.

All of them take integer or one-hot labels, logits or probabilities, class weights and weights of pixels, one class
(sigmoid) or many (softmax). They leave void pixels out and compute in float32.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from kseg.losses._cross_entropy import BalancedCrossEntropy, CrossEntropy, cross_entropy, pixel_cross_entropy
from kseg.losses.boundary import BorderDetection, BoundaryWeighted, border_detection, boundary_weighted
from kseg.losses.hard_pixels import OHEM, Focal, focal, ohem
from kseg.losses.loss import SegmentationLoss, WeightedSum
from kseg.losses.lovasz import LovaszSoftmax, lovasz_softmax
from kseg.losses.overlap import Dice, FocalTversky, Jaccard, Tversky, dice, focal_tversky, jaccard, tversky
from kseg.losses.weighting import border_weights, class_weights

LOSSES: dict[str, Callable[..., SegmentationLoss]] = {
    "cross_entropy": CrossEntropy,
    "balanced_cross_entropy": BalancedCrossEntropy,
    "focal": Focal,
    "ohem": OHEM,
    "boundary_weighted": BoundaryWeighted,
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "lovasz_softmax": LovaszSoftmax,
}
"""The losses that recipes and `get` know by name: `cross_entropy`, `balanced_cross_entropy`, `focal`, `ohem`,
`boundary_weighted`, `dice`, `jaccard`, `tversky`, `focal_tversky` and `lovasz_softmax`. Add your own before you train
with a recipe from Python."""

__all__ = [
    "LOSSES",
    "OHEM",
    "BalancedCrossEntropy",
    "BorderDetection",
    "BoundaryWeighted",
    "CrossEntropy",
    "Dice",
    "Focal",
    "FocalTversky",
    "Jaccard",
    "LovaszSoftmax",
    "SegmentationLoss",
    "Tversky",
    "WeightedSum",
    "border_detection",
    "border_weights",
    "boundary_weighted",
    "class_weights",
    "cross_entropy",
    "dice",
    "focal",
    "focal_tversky",
    "get",
    "jaccard",
    "lovasz_softmax",
    "ohem",
    "pixel_cross_entropy",
    "terms",
    "tversky",
]


def get(names: str, **options: Any) -> SegmentationLoss:
    """Makes a loss from its name, or from a weighted sum of names as in recipes.

    Args:
        names: For example "cross_entropy" or "cross_entropy + 0.5 * dice".
        **options: Arguments of the losses. Each term takes those that it has.

    Returns:
        The loss.

    Raises:
        ValueError: If there is no such loss, none of the terms has such an option, or a factor is not a number.

    Example:
        >>> get("cross_entropy + 0.5 * dice", label_smoothing=0.1).factors
        [1.0, 0.5]
    """
    parsed = terms(names)
    known = {name: inspect.signature(LOSSES[name]).parameters for name, _ in parsed}
    for option in options:
        if not any(option in has for has in known.values()):
            every = sorted({key for has in known.values() for key in has} - {"name"})
            near = difflib.get_close_matches(option, every, n=2, cutoff=0.5) or every
            raise ValueError(f"{names} has no option {option!r}: did you mean {' or '.join(near)}?")
    made = [LOSSES[name](**{key: value for key, value in options.items() if key in known[name]}) for name, _ in parsed]
    factors = [factor for _, factor in parsed]
    return made[0] if factors == [1.0] else WeightedSum(made, factors)


def terms(names: str) -> list[tuple[str, float]]:
    """Returns the name and the factor of each term of a sum of losses.

    Raises:
        ValueError: If there is no such loss, or a factor is not a number.

    Example:
        >>> terms("cross_entropy + 0.5 * dice")
        [('cross_entropy', 1.0), ('dice', 0.5)]
    """
    found = []
    for term in names.split("+"):
        *factor, name = (part.strip() for part in term.split("*"))
        if name not in LOSSES:
            near = difflib.get_close_matches(name, LOSSES, n=2, cutoff=0.5)
            cure = f"did you mean {' or '.join(near)}?" if near else f"the losses are {', '.join(LOSSES)}"
            raise ValueError(f"unknown loss {name!r}: {cure}")
        try:
            found.append((name, float(*factor) if factor else 1.0))
        except (TypeError, ValueError):
            raise ValueError(f"loss {names!r}: {term.strip()!r} must be a number * a name") from None
    return found
