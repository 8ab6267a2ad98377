"""The runtimes of exported files: what opens a file, and what its conversion needs; nothing here imports Keras."""

import functools
import importlib.util
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

KEY = "kseg"
"""The key of the description in the metadata of OpenVINO and ONNX files."""
ENTRY = "kseg.json"
"""The name of the description in LiteRT files, SavedModels and PyTorch programs, which can hold further files."""

Opened: TypeAlias = tuple[Callable[[np.ndarray], np.ndarray], str]
"""A function from an image batch to the output, and the description in the file, or ""."""


class Runtime(NamedTuple):
    """A format of exported files and what runs it: what it can do, and what it needs."""

    name: str
    """The name of what runs the files."""
    suffix: str
    """The end of a file's name; empty for a folder."""
    open: Callable[[pathlib.Path], Opened]
    """Opens a file."""
    packages: tuple[str, ...]
    """Packages that open files, by the names of their imports."""
    converters: tuple[str, ...] = ()
    """Further packages that the conversion needs."""
    int8_converters: tuple[str, ...] = ()
    """Further packages that the conversion to int8 needs."""
    backends: tuple[str, ...] = ("tensorflow",)
    """The backends of Keras whose models can be converted; weights are the same on all."""
    any_size: tuple[str, ...] = ("tensorflow",)
    """Those of them whose models can be converted for any image size."""
    precisions: tuple[str, ...] = ("float32", "float16", "int8")
    single: bool = False
    """Whether files for one image size take one image per batch."""
    unpickles: bool = False
    """Whether opening a file may run code that is in it."""


def check_installed(name: str, packages: tuple[str, ...]) -> None:
    """Raises a ModuleNotFoundError with the command that installs what is missing."""
    if missing := [each for each in packages if importlib.util.find_spec(each) is None]:
        extras = ",".join(dict.fromkeys(each if each in ("tensorflow", "torch") else "export" for each in missing))
        raise ModuleNotFoundError(f"{name} needs {', '.join(missing)}, not installed: pip install 'kseg[{extras}]'")


def check_backend(name: str, runtime: Runtime, backend: str, *, otherwise: str = "") -> None:
    """Raises a ValueError if models of a backend cannot be converted; `otherwise` is another cure."""
    if backend not in runtime.backends:
        raise ValueError(
            f"{name} takes no models of the backend {backend}: set KERAS_BACKEND={runtime.backends[0]} (weights are "
            f"the same on all backends){otherwise}"
        )


def reason(error: BaseException) -> str:
    """Returns the first line of an error that says what is wrong; lines that only name a place in the source do not."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not re.match(r"(Exception from .*|Check '.*' failed at .*):$", line)]
    if not (found := telling or lines):
        return type(error).__name__
    return " ".join(found[:2]) if found[0].endswith(":") else found[0]


def threads() -> int:
    """Returns the number of threads from the variable that PyTorch reads too; 0 for all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def openvino_compiled(graph: Any) -> Any:
    """Compiles an `openvino.Model` for the CPU."""
    # On CPUs with bfloat16, OpenVINO computes in it unless told otherwise; logits are then off by 1 %.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads()}
    options["CPU_RUNTIME_CACHE_CAPACITY"] = 0  # by default, every new size of image costs up to 3 MB that stay in use
    return _openvino_core().compile_model(graph, "CPU", options)


def onnx_session(file: bytes | str | os.PathLike) -> Any:
    """Opens an ONNX file, or its content, for the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@functools.cache
def _openvino_core() -> Any:
    import openvino

    return openvino.Core()


def _openvino(path: pathlib.Path) -> Opened:
    graph = _openvino_core().read_model(path)
    compiled = openvino_compiled(graph)
    text = str(graph.get_rt_info(KEY).value) if graph.has_rt_info(KEY) else ""
    return lambda images: compiled(images)[0], text


def _onnx(path: pathlib.Path) -> Opened:
    session = onnx_session(path)
    (image,) = session.get_inputs()
    run = lambda images: session.run(None, {image.name: images})[0]  # noqa: E731
    return run, session.get_modelmeta().custom_metadata_map.get(KEY, "")


def _litert(path: pathlib.Path) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads() or os.cpu_count())
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    known = tuple(image["shape_signature"])
    prepared: list[tuple[int, ...]] = []

    def run(images: np.ndarray) -> np.ndarray:
        if prepared != [images.shape]:
            prepared.clear()  # also if the graph does not take this shape
            if -1 in known:
                interpreter.resize_tensor_input(image["index"], images.shape)
            interpreter.allocate_tensors()
            prepared[:] = [images.shape]
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    if not zipfile.is_zipfile(path):
        return run, ""
    with zipfile.ZipFile(path) as archive:  # it follows the graph in the same file
        return run, archive.read(ENTRY).decode() if ENTRY in archive.namelist() else ""


def _saved_model(path: pathlib.Path) -> Opened:
    import tensorflow

    loaded = tensorflow.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    entry = path / ENTRY

    def run(images: np.ndarray, _owner: Any = loaded) -> np.ndarray:  # whose variables live as long as it
        (output,) = serve(tensorflow.constant(images)).values()
        return output.numpy()

    return run, entry.read_text("utf-8") if entry.is_file() else ""


def _torch(path: pathlib.Path) -> Opened:
    import torch

    extra = {ENTRY: ""}
    module = torch.export.load(path, extra_files=extra).module()
    place = next((each.device for each in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    run = torch.inference_mode()(lambda images: module(torch.from_numpy(images).to(place)).cpu().numpy())
    return run, str(extra[ENTRY] or "")


RUNTIMES: Mapping[str, Runtime] = {
    "openvino": Runtime(
        "OpenVINO", ".xml", _openvino, ("openvino",), int8_converters=("nncf",), backends=("tensorflow", "torch")
    ),
    "onnx": Runtime("ONNX Runtime", ".onnx", _onnx, ("onnxruntime",), converters=("onnx", "tf2onnx")),
    "litert": Runtime("LiteRT", ".tflite", _litert, ("ai_edge_litert",), single=True),
    "saved_model": Runtime("TensorFlow", "", _saved_model, ("tensorflow",), precisions=("float32",)),
    "torch": Runtime(
        "PyTorch", ".pt2", _torch, ("torch",), backends=("torch",), any_size=(), precisions=("float32",), unpickles=True
    ),
}
"""The runtimes by the names of their formats."""
