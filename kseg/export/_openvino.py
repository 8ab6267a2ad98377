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

    Batch normalization is folded into the convolutions; weights are float32. With PyTorch as the backend, the graph has
    one image per batch, and `size` is needed. JAX is not supported.

    Args:
        model: A model from images `(N, H, W, C)` to logits or probabilities.
        path: The file of the graph, `*.xml`; the weights are stored beside it in `*.bin`.
        output: `"scores"`, what the model returns, as float32 `(N, H, W, num_classes)`; `"probabilities"`, the same
            after softmax or sigmoid; or `"labels"`, class ids `(N, H, W)`.
        size: Height and width of the images; None for any size.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: If OpenVINO is not installed.
        RuntimeError: If OpenVINO gives other results than Keras; nothing is written then.
        ValueError: If the path, the model or the output is invalid, or the backend's models cannot be converted.
        OSError: If the files cannot be written.
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
