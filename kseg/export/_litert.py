"""The writer of LiteRT files, `*.tflite`."""

import pathlib
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kseg.engines import ENTRY, Ending, tensorflow_function

if TYPE_CHECKING:
    from kseg.export._export import Task


class _Argmax(Ending):
    """Labels by LiteRT's own operation; it has none for the choice among bytes."""

    def call(self, scores: Any) -> Any:
        import tensorflow  # Keras's argmax orders -0 below 0 by operations on bits, which LiteRT does not have

        found = tensorflow.argmax(scores, axis=-1, output_type="int32")
        return tensorflow.cast(found, "uint8")

    def compute_output_spec(self, scores: Any) -> Any:
        return keras.KerasTensor(scores.shape[:-1], "uint8")


def write(task: "Task", path: pathlib.Path) -> None:
    """Writes the graph, and after it a ZIP archive with the description, as LiteRT's metadata tools do."""
    import tensorflow

    net = task.net
    if task.output == "labels" and 1 < task.model.outputs[0].shape[-1] <= 256:
        scores = task.ending("scores")
        last = _Argmax("labels", True, name=f"argmax_of_{scores.name}", autocast=False)
        net = keras.Model(scores.inputs[0], last(scores.outputs[0]))
    function = tensorflow_function(net, task.shape).get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function])  # with constants for weights
    if task.precision != "float32":
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if task.precision == "float16":
        converter.target_spec.supported_types = [tensorflow.float16]
    if task.images:
        dtype = task.model.inputs[0].dtype

        def batches() -> Iterator[list[np.ndarray]]:
            return ([image[None].astype(dtype)] for image in task.images)

        converter.representative_dataset = batches
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ENTRY, task.text)
