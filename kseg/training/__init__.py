"""Training: recipes, runs that can be resumed, and the evaluation of models."""

import importlib
from typing import TYPE_CHECKING

__all__ = [
    "SGD", "AdamW", "PolynomialDecay", "Recipe", "batches", "class_weights", "dataset", "evaluate", "process_peak",
    "rehearse", "sample_picture", "schedule", "steps_per_epoch", "train", "versions",
]  # fmt: skip

if TYPE_CHECKING:
    from kseg.training._train import rehearse, train
    from kseg.training.evaluation import evaluate
    from kseg.training.folder import versions
    from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
    from kseg.training.preparation import class_weights, schedule
    from kseg.training.process import process_peak
    from kseg.training.recipe import Recipe
    from kseg.training.samples import sample_picture
    from kseg.training.splits import batches, dataset, steps_per_epoch
else:  # imported on first use: `kseg datasets check` needs a recipe and its data, but no backend
    _MODULES = {
        **dict.fromkeys(("rehearse", "train"), "_train"),
        **dict.fromkeys(("SGD", "AdamW", "PolynomialDecay"), "optimizer"),
        **dict.fromkeys(("class_weights", "schedule"), "preparation"),
        **dict.fromkeys(("batches", "dataset", "steps_per_epoch"), "splits"),
        **{"Recipe": "recipe", "evaluate": "evaluation", "process_peak": "process"},
        **{"sample_picture": "samples", "versions": "folder"},
    }

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'kseg.training' has no attribute {name!r}")
        return getattr(importlib.import_module(f"kseg.training.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
