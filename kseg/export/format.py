"""The table of formats, and the checks of what a format can do; nothing here imports Keras."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from kseg.inference.exported import RUNTIMES, check_installed

OUTPUTS = ("scores", "probabilities", "labels")
PRECISIONS = ("float32", "float16", "int8")


class Format(NamedTuple):
    """A format: what writes and runs it, and what it can do.

    `kseg.export` has a module for each, `_openvino.py` for `"openvino"`, with the function `write`.
    """

    suffix: str
    """The end of the file's name; empty for a folder."""
    packages: tuple[str, ...]
    """Packages that the conversion and the check need, by the names of their imports."""
    backends: tuple[str, ...] = ("tensorflow",)
    """The backends of Keras whose models can be converted; weights are the same on all."""
    any_size: tuple[str, ...] = ("tensorflow",)
    """Those of them whose models can be converted for any image size."""
    precisions: tuple[str, ...] = PRECISIONS
    single: bool = False
    """Whether files for one image size take one image per batch."""

    @property
    def runtime(self) -> str:
        """The name of what runs the file."""
        return RUNTIMES[self.suffix or "saved_model"].name


FORMATS: Mapping[str, Format] = {
    "openvino": Format(".xml", ("openvino",), backends=("tensorflow", "torch")),
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx")),
    "litert": Format(".tflite", ("ai_edge_litert",), single=True),
    "saved_model": Format("", (), precisions=("float32",)),
    "torch": Format(".pt2", (), backends=("torch",), any_size=(), precisions=("float32",)),
}


def check_options(
    format: str,
    path: str | os.PathLike,
    *,
    backend: str,
    size: tuple[int, int] | None = None,
    output: str = "scores",
    precision: str = "float32",
    calibration: Any = None,
) -> pathlib.Path:
    """Checks the options of `kseg.export.export` that do not depend on the model, and returns the path.

    The arguments and the errors are those of `export`; `backend` is the backend of Keras.
    """
    path = pathlib.Path(path)
    for name, value, known in (("format", format, FORMATS), ("output", output, OUTPUTS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    chosen = FORMATS[format]
    if precision not in chosen.precisions:
        raise ValueError(f"{format} takes the precision {' or '.join(chosen.precisions)}, got {precision!r}")
    if backend not in chosen.backends:
        raise ValueError(
            f"{format} takes no models of the backend {backend}: set KERAS_BACKEND={chosen.backends[0]} (weights are "
            "the same on all backends)"
        )
    if (precision == "int8") != (calibration is not None):
        raise ValueError("int8 and typical images, of which its ranges are computed, need each other (calibration=)")
    if precision == "int8" and backend != "tensorflow":
        raise ValueError("int8 needs TensorFlow as the backend: set KERAS_BACKEND=tensorflow")
    if size is None and backend not in chosen.any_size:
        raise ValueError(f"{format} needs the size of the images with the backend {backend} (size=)")
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be the height and the width of the images, got {size}")
    if path.suffix != chosen.suffix:
        cure = f"use {path.with_suffix(chosen.suffix)}"
        raise ValueError(
            f"the name of the file must end in {chosen.suffix}, got {path}: {cure}"
            if chosen.suffix
            else f"{format} is a folder, whose name has no suffix, got {path}: {cure}"
        )
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder that exists: choose another name")
    nncf = ("nncf",) if (format, precision) == ("openvino", "int8") else ()
    check_installed(format, (*chosen.packages, *nncf))
    return path
