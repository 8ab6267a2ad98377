"""The writer of TensorFlow's SavedModels."""

import pathlib
from typing import TYPE_CHECKING

import keras

from kseg.engines import ENTRY
from kseg.layers import single_operation

if TYPE_CHECKING:
    from kseg.export._export import Task


def write(task: "Task", path: pathlib.Path) -> None:
    """Writes the folder, with the description in a file of it."""
    net = task.net
    image = keras.InputSpec(dtype=net.inputs[0].dtype, shape=task.shape, name="image")
    with single_operation():  # Keras's choice by the size of the image would be traced several times
        net.export(path, format="tf_saved_model", input_signature=[image], verbose=False)
    (path / ENTRY).write_text(task.text, "utf-8")
