"""Reliability diagrams of the same predictions with two temperatures."""

from collections.abc import Iterator

import numpy as np

from kseg import metrics, visualize


def pairs(temperature: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields labels and probabilities of two classes. At temperature 1 class 1 occurs as often as predicted."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (200, 200))
    label = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype("uint8")
    yield label, (1 / (1 + np.exp(-logits / temperature)))[..., None]


def draw() -> np.ndarray:
    """Draws the calibrated predictions and, with logits three times as large, overconfident ones."""
    diagrams = [visualize.reliability_diagram(metrics.calibration(pairs(t)), side=260) for t in (1.0, 1 / 3)]
    return visualize.grid([diagrams], titles=["calibrated", "logits times 3"], font_size=14)
