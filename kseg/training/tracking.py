"""Where the progress of a run is recorded besides its folder: TensorBoard, Weights & Biases, MLflow."""

import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from PIL import Image

from kseg.training.recipe import Recipe

Draw = Callable[[int], np.ndarray | None]
"""A function from the index of an epoch to a picture of predictions, uint8 `(H, W, 3)`, or None without one."""


@contextlib.contextmanager
def trackers(recipe: Recipe, folder: pathlib.Path, draw: Draw) -> Iterator[list[keras.callbacks.Callback]]:
    """Opens the trackers that `[tracking]` names, and closes them after the block.

    Yields:
        Their Keras callbacks. The logs of an epoch contain the validation scores, if it was validated.

    Raises:
        ModuleNotFoundError: If a tracker is not installed.
        ValueError: If Weights & Biases or MLflow cannot start.
    """
    section = recipe.tracking
    wanted = recipe.tensorboard if section.tensorboard is None else section.tensorboard
    if wanted is None:
        wanted = keras.backend.backend() == "tensorflow" and importlib.util.find_spec("tensorboard") is not None
    with contextlib.ExitStack() as stack:
        callbacks: list[keras.callbacks.Callback] = []
        if wanted:
            callbacks.append(TensorBoard(folder / "tensorboard", draw))
        if section.wandb is not None:
            callbacks += stack.enter_context(_wandb(section.wandb, recipe, folder, draw))
        if section.mlflow is not None:
            callbacks += stack.enter_context(_mlflow(section.mlflow, recipe, folder, draw))
        yield callbacks


def _missing(key: str, packages: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"[tracking] {key} needs {packages}: pip install {packages}, or leave {key} out")


@contextlib.contextmanager
def _started(key: str) -> Iterator[None]:
    """Turns the errors of a tracker that does not start, of many types, into one."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"[tracking] {key} cannot start: {error}; change its options, or leave {key} out") from error


class Pictures(keras.callbacks.Callback):
    """Calls a function with the picture of each epoch that has one, and the index of the epoch."""

    def __init__(self, draw: Draw, record: Callable[[np.ndarray, int], Any]):
        super().__init__()
        self.draw, self.record = draw, record

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (picture := self.draw(epoch)) is not None:
            self.record(picture, epoch)


class TensorBoard(keras.callbacks.Callback):
    """Writes the logs of each epoch and pictures of predictions as TensorBoard reads them, without TensorFlow.

    Args:
        folder: The folder of the event files; each start of a run adds one.
        draw: Draws the picture of an epoch.
    """

    def __init__(self, folder: pathlib.Path, draw: Draw):
        super().__init__()
        if importlib.util.find_spec("tensorboard") is None:
            raise _missing("tensorboard", "tensorboard")
        self.folder, self.draw = folder, draw

    def on_train_begin(self, logs: Any = None) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self.writer = RecordWriter((self.folder / name).open("ab"))
        self._write(file_version="brain.Event:2")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in (logs or {}).items()]
        if (picture := self.draw(epoch)) is not None:
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "png")
            height, width = picture.shape[:2]
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content.getvalue())
            values.append(Summary.Value(tag="predictions", image=image))
        self._write(step=epoch + 1, summary=Summary(value=values))

    def on_train_end(self, logs: Any = None) -> None:
        self.writer.close()

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.write(Event(wall_time=time.time(), **content).SerializeToString())
        self.writer.flush()


@contextlib.contextmanager
def _wandb(
    options: dict[str, Any], recipe: Recipe, folder: pathlib.Path, draw: Draw
) -> Iterator[list[keras.callbacks.Callback]]:
    """Weights & Biases; the same run folder continues the same run there."""
    try:
        import wandb
        from wandb.integration.keras import WandbMetricsLogger
    except ModuleNotFoundError as error:
        raise _missing("wandb", error.name or "wandb") from None
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    given = {"id": f"{recipe.hash()}-{place}", "resume": "allow", "name": folder.resolve().name, "dir": str(folder)}
    config = recipe.model_dump(mode="json") | options.get("config", {})
    with _started("wandb"):
        run = wandb.init(**(given | options | {"config": config}))
    finished = 1
    try:
        # The picture first: `commit=False` puts it into the step that the logger writes.
        record = Pictures(draw, lambda picture, _: run.log({"predictions": wandb.Image(picture)}, commit=False))
        yield [record, WandbMetricsLogger()]
        finished = 0
    finally:
        run.finish(exit_code=finished)


@contextlib.contextmanager
def _mlflow(
    options: dict[str, Any], recipe: Recipe, folder: pathlib.Path, draw: Draw
) -> Iterator[list[keras.callbacks.Callback]]:
    """MLflow; each start of a run is a run there, with the tag `run_folder`."""
    try:
        import mlflow
        from mlflow.keras import MlflowCallback
    except ModuleNotFoundError as error:
        raise _missing("mlflow", error.name or "mlflow") from None
    options = dict(options)
    tags = {"run_folder": str(folder.resolve()), "recipe": recipe.hash(), **options.pop("tags", {})}
    with _started("mlflow"):
        if (address := options.pop("tracking_uri", None)) is not None:
            mlflow.set_tracking_uri(address)
        if (experiment := options.pop("experiment", None)) is not None:
            mlflow.set_experiment(experiment)
        run = mlflow.start_run(**({"run_name": folder.resolve().name} | options), tags=tags)
    with run:
        mlflow.log_dict(recipe.model_dump(mode="json"), "recipe.json")
        record = Pictures(
            draw, lambda picture, epoch: mlflow.log_image(picture, artifact_file=f"predictions/{epoch + 1:04}.png")
        )
        yield [MlflowCallback(), record]
