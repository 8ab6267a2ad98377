"""Exported models: files that `kseg export` wrote, run by the runtimes of their formats without Keras."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from kseg.classes import default_names
from kseg.engines.memory import is_out_of_memory
from kseg.engines.runtimes import RUNTIMES, Runtime, check_installed, reason


class Port(NamedTuple):
    """The input or the output of a network; None in the shape for what may vary."""

    shape: tuple[int | None, ...]
    dtype: str


class Exported:
    """An exported model.

    It has the attributes that `Predictor` needs of a Keras model: `name`, `inputs`, `outputs`, `classes`, `palette` and
    `pixels`, and `step`, the number that must divide the height and the width of images.

    Args:
        path: A file `*.onnx`, `*.xml` (with `*.bin` beside it), `*.tflite` or `*.pt2`, or the folder of a SavedModel.
        trusted: Whether a `*.pt2` file may run code: PyTorch unpickles parts of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the runtime is not installed.
        ValueError: If it is not a file of `kseg export`, or damaged, or a `*.pt2` file that is not trusted.
    """

    def __init__(self, path: str | os.PathLike, *, trusted: bool = False):
        self.path = pathlib.Path(path)
        self.runtime = runtime = _runtime_of(path)
        if "://" in str(path):
            raise ValueError(f"{path} is an exported model: download it, and give the path of the file")
        if runtime.unpickles and not trusted:
            raise ValueError(
                f"{path} may run code when {runtime.name} opens it: export the model to ONNX or OpenVINO instead, or, "
                "if the file is your own, give Predictor(kseg.inference.Exported(path, trusted=True))"
            )
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        if runtime.suffix == ".xml" and not (weights := self.path.with_suffix(".bin")).is_file():
            raise FileNotFoundError(
                f"there is no file {weights}, which holds the weights of {self.path.name}: copy it to the same folder"
            )
        check_installed(runtime.name, runtime.packages)
        try:
            self._run, text = runtime.open(self.path)
        except Exception as error:  # runtimes have error types of their own
            if is_out_of_memory(error):
                raise
            raise ValueError(f"{path} cannot be opened by {runtime.name}: {reason(error)}") from error
        beside = self.path.with_name(self.path.name + ".json")
        if not text and beside.is_file():  # other tools may drop what they do not know
            text = beside.read_text("utf-8")
        try:
            self.description: Mapping[str, Any] = json.loads(text)
            shape, channels = tuple(self.description["shape"]), self.description["num_classes"]
            dtype, self.output = self.description["dtype"], self.description["output"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path} has no description by kseg, inside or in {beside.name}: write it with kseg export"
            ) from None
        self.name = self.path.name
        self.inputs, self.outputs = [Port(shape, dtype)], [Port((*shape[:3], channels), "float32")]
        names = tuple(self.description.get("classes", ()))
        self.classes = () if names == default_names(len(names)) else names  # `kseg export` names those without
        self.palette = tuple(map(tuple, self.description.get("palette", ())))
        self.pixels: Mapping[str, Any] = self.description.get("pixels", {})
        self.step = int(self.description.get("step", 1))

    @property
    def from_logits(self) -> bool:
        """Whether the scores are logits."""
        return bool(self.output == "logits")

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns what the file gives for images `(N, H, W, C)`: scores `(N, H, W, num_classes)` or labels.

        Raises:
            ValueError: If the runtime cannot run the file.
        """
        try:
            return self._run(np.ascontiguousarray(images, self.inputs[0].dtype))
        except Exception as error:  # runtimes have error types of their own
            if is_out_of_memory(error):
                raise
            raise ValueError(f"{self.runtime.name} cannot run {self.name}: {reason(error)}") from error

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Returns logits or probabilities, float32 `(N, H, W, num_classes)`; see `from_logits`.

        Raises:
            ValueError: If the file gives labels, or the runtime cannot run it.
        """
        if self.output == "labels":
            raise ValueError(f"{self.name} gives labels only, no probabilities: export the model without --labels")
        return self.run(images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 `(N, H, W, num_classes)`; errors are those of `scores`."""
        scores = self.scores(images)
        return as_probabilities(scores) if self.from_logits else scores

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Returns class ids `(N, H, W)`."""
        if self.output == "labels":
            return self.run(images)
        return as_labels(self.run(images), from_logits=self.from_logits)


class ExportedRunner:
    """Runs an exported model; see `kseg.engines.Runner`. The file has decided on the runtime and the precision."""

    powers = False

    def __init__(self, model: Exported, *, from_logits: bool | None, engine: str, calibration: Any) -> None:
        if engine not in ("keras", "auto") or calibration is not None:
            raise ValueError(
                f"{model.name} has its own runtime and precision: leave out engine=, precision= and calibration= "
                "(--engine, --int8), or export the model again with another --precision"
            )
        if from_logits not in (None, model.from_logits):
            raise ValueError(f"{model.name} gives {model.output}: leave out from_logits=")
        self.from_logits = model.from_logits
        self.gives_labels = model.output == "labels"
        self.step = model.step
        self.probabilities: Callable[[np.ndarray], np.ndarray] = model.probabilities
        self.labels: Callable[[np.ndarray], np.ndarray] = model.labels

    def with_loss(self, loss: Any) -> None:
        """Returns None: the file computes no loss."""


def as_probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax of logits `(..., C)`, or their sigmoid for one channel."""
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-np.clip(logits, -80, None)))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def as_scores(probabilities: np.ndarray) -> np.ndarray:
    """Returns logits for probabilities `(..., C)`, for one channel those of the sigmoid."""
    p = np.clip(probabilities, 1e-30, 1 - 1e-7 if probabilities.shape[-1] == 1 else 1)
    return np.log(p / (1 - p) if p.shape[-1] == 1 else p)


def as_labels(scores: np.ndarray, *, from_logits: bool) -> np.ndarray:
    """Returns the class ids `(...)` of scores `(..., C)`."""
    if scores.shape[-1] == 1:
        return (scores[..., 0] > (0 if from_logits else 0.5)).astype("uint8")
    return scores.argmax(axis=-1)


def is_exported(source: Any) -> bool:
    """Returns whether a path is that of an exported model, by its suffix; a SavedModel is a folder."""
    return isinstance(source, str | os.PathLike) and _found(source) is not None


def _runtime_of(path: str | os.PathLike) -> Runtime:
    if (found := _found(path)) is None:
        raise ValueError(
            f"{path} is no exported model (*.onnx, *.xml, *.tflite, *.pt2, a SavedModel): kseg.zoo.load reads weights"
        )
    return found


def _found(path: str | os.PathLike) -> Runtime | None:
    """Returns what runs a file, by its suffix, or None."""
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return RUNTIMES["saved_model"]
    return next((each for each in RUNTIMES.values() if each.suffix and each.suffix == path.suffix.lower()), None)
