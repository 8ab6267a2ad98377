"""What a predictor needs of a model: its probabilities and its labels, whatever runs it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from kseg.engines.exported import Exported, ExportedRunner, is_exported

if TYPE_CHECKING:
    from kseg.engines.keras_engines import KerasRun

ArrayFunction: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A function from images `(N, H, W, C)` to probabilities `(N, H, W, num_classes)` or to class ids `(N, H, W)`."""

Loss: TypeAlias = Callable[[Any, Any], Any]
"""A function of label maps `(N, H, W)` and scores `(N, H, W, num_classes)`, such as a loss of `kseg.losses`."""


class Runner(Protocol):
    """Runs a model.

    Attributes:
        from_logits: Whether the model returns logits.
        probabilities: Maps images `(N, H, W, C)` to probabilities, float32 `(N, H, W, num_classes)`.
        labels: Maps images to class ids `(N, H, W)`.
        gives_labels: Whether the model gives labels only, so that `probabilities` raises a ValueError.
        powers: Whether the number of images is best padded to a power of two.
        step: The number that must divide height and width.
    """

    from_logits: bool
    probabilities: ArrayFunction
    labels: ArrayFunction
    gives_labels: bool
    powers: bool
    step: int

    def with_loss(self, loss: Loss) -> "KerasRun | None":
        """Returns a function from images and label maps to labels and a loss, or None if there is none."""


def opened(model: Any) -> Any:
    """Returns a model that can be run: a Keras model, or an exported one, also by the path of its file.

    Raises:
        TypeError: If it is neither.
        ValueError: If the file is damaged, or the model does not map one image to one score per class and pixel.
    """
    if is_exported(model):
        return Exported(model)
    if not isinstance(model, Exported):
        from kseg.engines.model_check import check_model

        check_model(model)
    return model


def runner_of(
    model: Any,
    *,
    from_logits: bool | None = None,
    engine: str = "keras",
    calibration: Sequence[np.ndarray] | None = None,
) -> Runner:
    """Returns what runs a model of `opened`.

    Args:
        model: The model.
        from_logits: Whether it returns logits; None finds out.
        engine: A key of `ENGINES`.
        calibration: Images `(H, W, C)` that set the ranges of the integers, for int8; None for float32.

    Raises:
        ModuleNotFoundError: If the engine needs a package that is not installed.
        ValueError: If an option is invalid, or if an exported file has decided it.
    """
    if isinstance(model, Exported):
        return ExportedRunner(model, from_logits=from_logits, engine=engine, calibration=calibration)
    from kseg.engines.keras_runner import KerasRunner

    return KerasRunner(model, from_logits=from_logits, engine=engine, calibration=calibration or ())
