"""Training: recipes, runs that can be resumed, and the evaluation of models."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kseg.training._train import rehearse, train
    from kseg.training.distribution import start_processes
    from kseg.training.evaluation import evaluate, sample_picture
    from kseg.training.folder import versions
    from kseg.training.optimizer import SGD, AdamW, PolynomialDecay
    from kseg.training.packing import pack
    from kseg.training.preparation import class_weights, loss, schedule
    from kseg.training.process import PeakMemory, process_peak
    from kseg.training.recipe import Recipe
    from kseg.training.splits import batches, dataset, steps_per_epoch

__all__ = [
    "SGD", "AdamW", "PeakMemory", "PolynomialDecay", "Recipe", "batches", "class_weights", "dataset", "evaluate",
    "loss", "pack", "process_peak", "rehearse", "sample_picture", "schedule", "start_processes", "steps_per_epoch",
    "train", "versions",
]  # fmt: skip

_MODULES = (
    "recipe", "splits", "packing", "folder", "preparation", "optimizer", "process", "evaluation", "distribution",
    "_train",
)  # fmt: skip
"""First those that import no backend, which `kseg datasets check` needs."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := importlib.import_module(f"kseg.training.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module 'kseg.training' has no attribute {name!r}")
