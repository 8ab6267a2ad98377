"""The writer of OpenVINO's pair of files, `*.xml` and `*.bin`."""

import contextlib
import pathlib
from typing import TYPE_CHECKING

from kseg.engines import KEY, int8_graph, openvino_graph
from kseg.layers import enlarged

if TYPE_CHECKING:
    from kseg.export._export import Task


def write(task: "Task", path: pathlib.Path) -> None:
    """Writes the graph and its weights."""
    import openvino

    with enlarged() if task.images else contextlib.nullcontext():
        graph = openvino_graph(task.net, task.shape[:3])
    if task.images:
        graph = int8_graph(graph, task.images)
    graph.set_rt_info(task.text, KEY)
    openvino.save_model(graph, path, compress_to_fp16=task.precision == "float16")
