"""Training: a validated recipe, one run from it, and the scores of what came out."""

from kseg.progress import Reporter
from kseg.training.evaluation import evaluate
from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
from kseg.training.recipe import Recipe
from kseg.training.run import rehearse, train
from kseg.training.splits import dataset

__all__ = ["SGD", "AdamW", "PolynomialDecay", "Recipe", "Reporter", "dataset", "evaluate", "rehearse", "train"]
