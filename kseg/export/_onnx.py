"""The writer of ONNX files."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kseg.engines import KEY, onnx_graph

if TYPE_CHECKING:
    from kseg.export._export import Task

SMALL = 64
"""Constants of fewer values stay in float32; they are no weights."""


QUANTIZED = ["Conv", "Clip", "Relu", "Add", "Concat"]
"""With activations among them, ranges are those after the activation; before it, 8 bits are too coarse."""


def write(task: "Task", path: pathlib.Path) -> None:
    """Writes the graph."""
    import onnx

    graph = onnx_graph(task.net, task.shape[:3])
    if task.precision == "float16":
        _halve(graph.graph)
    if task.images:
        graph = _quantized(graph, [image.astype(task.model.inputs[0].dtype) for image in task.images])
    onnx.helper.set_model_props(graph, {KEY: task.text})
    onnx.save_model(graph, path)


def _halve(graph: Any) -> None:
    """Stores the weights of a graph in float16; the runtime converts them once, when it opens the file."""
    from onnx import TensorProto, helper, numpy_helper

    for constant in graph.initializer:
        if constant.data_type != TensorProto.FLOAT or np.prod(constant.dims) < SMALL:
            continue
        name, values = constant.name, numpy_helper.to_array(constant)
        if np.abs(values).max() > np.finfo("float16").max:
            continue
        constant.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}/half"))
        graph.node.insert(0, helper.make_node("Cast", [constant.name], [name], to=TensorProto.FLOAT))


def _quantized(graph: Any, images: Sequence[np.ndarray]) -> Any:
    """Quantizes the convolutions of a graph to 8-bit integers."""
    import tempfile

    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image[None]}

    with tempfile.TemporaryDirectory() as folder:
        found = pathlib.Path(folder, "int8.onnx")
        quantize_static(
            graph,
            str(found),
            Reader(),
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load_model(found)
