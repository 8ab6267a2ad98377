"""Training: recipes, runs that can be resumed, and the evaluation of models."""

import importlib
from typing import TYPE_CHECKING

__all__ = ["SGD", "AdamW", "PolynomialDecay", "Recipe", "dataset", "evaluate", "rehearse", "train"]

if TYPE_CHECKING:
    from kseg.training._train import rehearse, train
    from kseg.training.evaluation import evaluate
    from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
    from kseg.training.recipe import Recipe
    from kseg.training.splits import dataset
else:  # imported on first use: `kseg datasets check` needs a recipe and its data, but no backend

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'kseg.training' has no attribute {name!r}")
        modules = {"Recipe": "recipe", "dataset": "splits", "evaluate": "evaluation"} | dict.fromkeys(
            ("rehearse", "train"), "_train"
        )
        return getattr(importlib.import_module(f"kseg.training.{modules.get(name, 'optimizer')}"), name)

    def __dir__() -> list[str]:
        return __all__
