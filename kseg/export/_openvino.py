"""The writer of OpenVINO files."""

import os
import pathlib
import tempfile

import keras

from kseg.export.agreement import check_agreement, network_of, with_suffix
from kseg.inference.conversion import openvino_graph
from kseg.inference.runtimes import openvino_compiled
from kseg.pretrained import atomic_write


def write_openvino(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    output: str = "scores",
    size: tuple[int, int] | None = None,
) -> pathlib.Path:
    """Writes a model as OpenVINO's pair of files, `*.xml` and `*.bin`, after checking them in OpenVINO.

    Arguments, result and errors are those of `write_onnx`, with three differences: the weights are stored in a second
    file; PyTorch may also be the backend, but then the graph has one image per batch, and `size` is needed; and what is
    written is checked in OpenVINO.

    Args:
        model: A model from images to scores.
        path: The file of the graph, `*.xml`; the weights are stored beside it in `*.bin`.
        output: `"scores"`, `"probabilities"` or `"labels"`.
        size: Height and width of the images; None for any size.
    """
    path = with_suffix(path, ".xml")
    batch = None if keras.backend.backend() == "tensorflow" else 1
    net = network_of(model, output)
    graph = openvino_graph(net, (batch, *(size or (None, None))))
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        written = pathlib.Path(folder, path.name)
        openvino.save_model(graph, written, compress_to_fp16=False)
        compiled = openvino_compiled(openvino.Core().read_model(written))
        check_agreement(lambda images: compiled(images)[0], model, output, size, "OpenVINO")
        atomic_write(path.with_suffix(".bin"), written.with_suffix(".bin").read_bytes())
        return atomic_write(path, written.read_bytes())
