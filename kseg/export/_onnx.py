"""The writer of ONNX files."""

import os
import pathlib

import keras

from kseg.export.agreement import check_agreement, network_of, with_suffix
from kseg.inference.runtimes import ONNXRun
from kseg.pretrained import atomic_write


def write_onnx(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    output: str = "scores",
    size: tuple[int, int] | None = None,
) -> pathlib.Path:
    """Writes a model as an ONNX file, after checking it in ONNX Runtime.

    The backend must be TensorFlow. Batch normalization is folded into the convolutions.

    Args:
        model: A model from images `(N, H, W, C)` to logits or probabilities.
        path: The file, `*.onnx`.
        output: `"scores"`, what the model returns, as float32 `(N, H, W, num_classes)`; `"probabilities"`, the same
            after softmax or sigmoid; or `"labels"`, class ids `(N, H, W)`.
        size: Height and width of the images; None for any size.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: If a package is missing.
        RuntimeError: If ONNX Runtime gives other results than Keras; nothing is written then.
        ValueError: If the path, the model or the output is invalid, or the backend is not TensorFlow.
        OSError: If the file cannot be written.
    """
    path = with_suffix(path, ".onnx")
    net = network_of(model, output)
    run = ONNXRun(net, (None, *(size or (None, None))))
    check_agreement(run, model, output, size, "ONNX Runtime")
    return atomic_write(path, run.file)
