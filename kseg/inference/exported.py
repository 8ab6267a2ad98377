"""Exported models: files that `kseg export` wrote, run by the runtimes of their formats without Keras."""

import functools
import importlib.util
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

KEY = "kseg"
"""The key of the description in the metadata of OpenVINO and ONNX files."""
ENTRY = "kseg.json"
"""The name of the description in LiteRT files, SavedModels and PyTorch programs, which can hold further files."""


class Port(NamedTuple):
    """The input or the output of a network; None in the shape for what may vary."""

    shape: tuple[int | None, ...]
    dtype: str


class Runtime(NamedTuple):
    """What runs a format: its name, the packages that it needs, and the function that opens a file.

    The function returns a function from an image batch to the output, and the description in the file, or "".
    `unpickles`: whether opening a file may run code that is in it.
    """

    name: str
    packages: tuple[str, ...]
    open: Callable[[pathlib.Path], tuple[Callable[[np.ndarray], np.ndarray], str]]
    unpickles: bool = False


class Exported:
    """An exported model.

    It has the attributes that `Predictor` needs of a Keras model: `name`, `inputs`, `outputs`, `classes`, `palette` and
    `pixels`.

    Args:
        path: A file `*.onnx`, `*.xml` (with `*.bin` beside it), `*.tflite` or `*.pt2`, or the folder of a SavedModel.

        trusted: Whether a `*.pt2` file may run code: PyTorch unpickles parts of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the runtime is not installed.
        ValueError: If it is not a file of `kseg export`, or damaged, or a `*.pt2` file that is not trusted.
    """

    def __init__(self, path: str | os.PathLike, *, trusted: bool = False):
        self.path = pathlib.Path(path)
        runtime = runtime_of(path)
        if runtime.unpickles and not trusted:
            raise ValueError(
                f"{path} may run code when {runtime.name} opens it: export the model to ONNX or OpenVINO instead, or, "
                "if the file is your own, give Predictor(kseg.inference.Exported(path, trusted=True))"
            )
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        check_installed(runtime.name, runtime.packages)
        try:
            self._run, text = runtime.open(self.path)
        except Exception as error:  # runtimes have error types of their own
            raise ValueError(f"{path} cannot be opened by {runtime.name}: {reason(error)}") from error
        beside = self.path.with_name(self.path.name + ".json")
        if not text and beside.is_file():  # other tools may drop what they do not know
            text = beside.read_text("utf-8")
        try:
            self.description: Mapping[str, Any] = json.loads(text)
            shape, channels = tuple(self.description["shape"]), self.description["num_classes"]
            dtype, self.output = self.description["dtype"], self.description["output"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path} has no description by kseg, inside or in {beside.name}: write it with kseg export"
            ) from None
        self.name = self.path.name
        self.inputs, self.outputs = [Port(shape, dtype)], [Port((*shape[:3], channels), "float32")]
        self.classes = tuple(self.description.get("classes", ()))
        self.palette = tuple(map(tuple, self.description.get("palette", ())))
        self.pixels: Mapping[str, Any] = self.description.get("pixels", {})

    @property
    def from_logits(self) -> bool:
        """Whether the scores are logits."""
        return bool(self.output == "logits")

    def check_options(
        self, *, engine: str, precision: str, calibration: Any = None, from_logits: bool | None = None
    ) -> None:
        """Raises a ValueError if an option of `Predictor` asks for something that the file has decided."""
        if engine not in ("keras", "auto") or precision != "float32" or calibration is not None:
            raise ValueError(
                f"{self.name} has its own runtime and precision: leave engine, precision and calibration out, or give "
                "the precision to kseg export"
            )
        if from_logits not in (None, self.from_logits):
            raise ValueError(f"{self.name} gives {self.output}: leave from_logits out")

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns what the file gives for images `(N, H, W, C)`: scores `(N, H, W, num_classes)` or labels."""
        return self._run(np.ascontiguousarray(images, self.inputs[0].dtype))

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Returns logits or probabilities, float32 `(N, H, W, num_classes)`; see `from_logits`.

        Raises:
            ValueError: If the file gives labels.
        """
        if self.output == "labels":
            raise ValueError(
                f"{self.name} gives labels only; tiles, mirrored and scaled images, the CRF and a threshold need "
                "probabilities: export it without --labels, or leave them out (--tile 0, tile=0)"
            )
        return self.run(images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 `(N, H, W, num_classes)`; errors are those of `scores`."""
        scores = self.scores(images)
        return as_probabilities(scores) if self.from_logits else scores

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Returns class ids `(N, H, W)`."""
        if self.output == "labels":
            return self.run(images)
        return as_labels(self.run(images), from_logits=self.from_logits)


def as_probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax of logits `(..., C)`, or their sigmoid for one channel."""
    if logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-np.clip(logits, -80, None)))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def as_labels(scores: np.ndarray, *, from_logits: bool) -> np.ndarray:
    """Returns the class ids `(...)` of scores `(..., C)`."""
    if scores.shape[-1] == 1:
        return (scores[..., 0] > (0 if from_logits else 0.5)).astype("uint8")
    return scores.argmax(axis=-1)


def is_exported(source: Any) -> bool:
    """Returns whether a path is that of an exported model, by its suffix; a SavedModel is a folder."""
    return isinstance(source, str | os.PathLike) and _suffix(source) in RUNTIMES


def runtime_of(path: str | os.PathLike) -> Runtime:
    """Returns what runs a file, by its suffix; raises a ValueError if nothing does."""
    if (suffix := _suffix(path)) not in RUNTIMES:
        raise ValueError(
            f"{path} is no exported model (*.onnx, *.xml, *.tflite, *.pt2, a SavedModel): kseg.zoo.load reads weights"
        )
    return RUNTIMES[suffix]


def check_installed(name: str, packages: tuple[str, ...]) -> None:
    """Raises a ModuleNotFoundError with the command that installs what is missing."""
    if missing := [each for each in packages if importlib.util.find_spec(each) is None]:
        extras = ",".join(dict.fromkeys(each if each in ("tensorflow", "torch") else "export" for each in missing))
        raise ModuleNotFoundError(f"{name} needs {', '.join(missing)}, not installed: pip install 'kseg[{extras}]'")


def reason(error: BaseException) -> str:
    """Returns the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def threads() -> int:
    """Returns the number of threads from the variable that PyTorch reads too; 0 for all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def openvino_compiled(graph: Any) -> Any:
    """Compiles an `openvino.Model` for the CPU."""
    # On CPUs with bfloat16, OpenVINO computes in it unless told otherwise; logits are then off by 1 %.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads()}
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


def _openvino(path: pathlib.Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    graph = _openvino_core().read_model(path)
    compiled = openvino_compiled(graph)
    text = str(graph.get_rt_info(KEY).value) if graph.has_rt_info(KEY) else ""
    return lambda images: compiled(images)[0], text


def _onnx(path: pathlib.Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    session = onnx_session(path)
    (image,) = session.get_inputs()
    run = lambda images: session.run(None, {image.name: images})[0]  # noqa: E731
    return run, session.get_modelmeta().custom_metadata_map.get(KEY, "")


def _litert(path: pathlib.Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads() or os.cpu_count())
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    known = tuple(image["shape_signature"])
    prepared: list[tuple[int, ...]] = []

    def run(images: np.ndarray) -> np.ndarray:
        if prepared != [images.shape]:
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


def _saved_model(path: pathlib.Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    import tensorflow

    loaded = tensorflow.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    entry = path / ENTRY

    def run(images: np.ndarray, _owner: Any = loaded) -> np.ndarray:  # whose variables live as long as it
        (output,) = serve(tensorflow.constant(images)).values()
        return output.numpy()

    return run, entry.read_text("utf-8") if entry.is_file() else ""


def _torch(path: pathlib.Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    import torch

    extra = {ENTRY: ""}
    module = torch.export.load(path, extra_files=extra).module()
    run = torch.inference_mode()(lambda images: module(torch.from_numpy(images)).numpy())
    return run, str(extra[ENTRY] or "")


def _suffix(path: str | os.PathLike) -> str:
    path = pathlib.Path(path)
    return "saved_model" if (path / "saved_model.pb").is_file() else path.suffix.lower()


RUNTIMES: Mapping[str, Runtime] = {
    ".xml": Runtime("OpenVINO", ("openvino",), _openvino),
    ".onnx": Runtime("ONNX Runtime", ("onnxruntime",), _onnx),
    ".tflite": Runtime("LiteRT", ("ai_edge_litert",), _litert),
    "saved_model": Runtime("TensorFlow", ("tensorflow",), _saved_model),
    ".pt2": Runtime("PyTorch", ("torch",), _torch, unpickles=True),
}
"""What runs a file of each suffix."""
