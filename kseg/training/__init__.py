"""Training: recipes, runs that can be resumed, and the evaluation of models."""

import importlib
from typing import TYPE_CHECKING

__all__ = [
    "SGD", "AdamW", "PolynomialDecay", "Recipe", "batches", "class_weights", "dataset", "evaluate", "process_peak",
    "rehearse", "sample_picture", "schedule", "steps_per_epoch", "train", "versions",
]  # fmt: skip

if TYPE_CHECKING:
    from kseg.training._train import rehearse, train
    from kseg.training.evaluation import evaluate, sample_picture
    from kseg.training.folder import versions
    from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
    from kseg.training.preparation import class_weights, schedule
    from kseg.training.process import process_peak
    from kseg.training.recipe import Recipe
    from kseg.training.splits import batches, dataset, steps_per_epoch
else:  # imported on first use: `kseg datasets check` needs a recipe and its data, but no backend
    _NAMES = {
        "_train": ("rehearse", "train"),
        "evaluation": ("evaluate", "sample_picture"),
        "folder": ("versions",),
        "optimizer": ("SGD", "AdamW", "PolynomialDecay"),
        "preparation": ("class_weights", "schedule"),
        "process": ("process_peak",),
        "recipe": ("Recipe",),
        "splits": ("batches", "dataset", "steps_per_epoch"),
    }

    def __getattr__(name: str) -> object:
        for module, names in _NAMES.items():
            if name in names:
                return getattr(importlib.import_module(f"kseg.training.{module}"), name)
        raise AttributeError(f"module 'kseg.training' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
