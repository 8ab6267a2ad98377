"""Training: recipes, runs that can be resumed, and the evaluation of models."""

from kseg.training._train import rehearse, train
from kseg.training.evaluation import evaluate
from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
from kseg.training.recipe import Recipe
from kseg.training.splits import dataset

__all__ = ["SGD", "AdamW", "PolynomialDecay", "Recipe", "dataset", "evaluate", "rehearse", "train"]
