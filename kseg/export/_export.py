"""The export of a model: its description, the file, and the comparison with the model."""

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

import kseg
from kseg.classes import default_names
from kseg.data import Dataset
from kseg.engines import Exported, Network, check_model, is_out_of_memory, known_shape, reason, step_of
from kseg.export._calibration import split
from kseg.export.agreement import Report, check_agreement, compare_int8, street_images
from kseg.export.format import FORMATS, check_options
from kseg.metrics import gives_logits
from kseg.pretrained import atomic_write, description_of
from kseg.visualize import default_palette


@dataclasses.dataclass(frozen=True)
class Task:
    """What a writer needs: the model, the shape of the input, and the options of `export`."""

    model: keras.Model
    shape: tuple[int | None, ...]
    output: str
    precision: str
    images: Sequence[np.ndarray]
    """For int8: images `(H, W, C)` that set the ranges of the integers."""
    text: str
    """The description, as JSON."""

    @property
    def net(self) -> keras.Model:
        """The network, without batch normalization, that ends in the output."""
        return self.ending(self.output)

    def ending(self, output: str) -> keras.Model:
        """Returns the network with another output."""
        return Network.of(self.model).net(output, from_logits=gives_logits(self.model))


def export(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    format: str,
    size: tuple[int, int] | None = None,
    output: str = "scores",
    precision: str = "float32",
    calibration: Dataset | Iterable[Any] | None = None,
) -> Report:
    """Writes a model as a file of another runtime, after running it there and comparing it with the model.

    The file contains the normalization of images, so it takes values from 0 to 255. Its metadata, and the file
    `PATH.json` beside it, describe it: class names, palette, meaning of the pixels, builder, kseg's version.
    `Predictor(path)` and `kseg predict --weights PATH` run files of OpenVINO, ONNX Runtime and LiteRT without Keras;
    SavedModels need TensorFlow, and `*.pt2` files `Exported(path, trusted=True)`. In OpenVINO and ONNX files, the input
    is called `image` and the output `output`.

    If the mIoU of an int8 file is below 0.9 of that of the model, a warning says so.

    Args:
        model: A model from images `(N, H, W, C)` to scores `(N, H, W, num_classes)`.
        path: The file: `*.xml` (OpenVINO, with the weights in `*.bin`), `*.onnx`, `*.tflite` (LiteRT), `*.pt2`
            (PyTorch), or the folder of a SavedModel.
        format: A key of `FORMATS`: `"openvino"`, `"onnx"`, `"litert"`, `"saved_model"`, `"torch"`.
        size: Height and width of the images; None for any size, or for that of the model.
        output: `"scores"`, what the model returns, float32; `"probabilities"`, the same after softmax or sigmoid; or
            `"labels"`, class ids `(N, H, W)`, uint8 (int32 above 256 classes).
        precision: `"float32"`; `"float16"`, which stores weights in half precision, at half of the size; or `"int8"`,
            which computes convolutions in 8-bit integers.
        calibration: For int8, images that set the ranges of the integers: a data set, e.g. the training split; a
            folder, a pattern or a list of images. 64 are used, of large ones the center; every fourth is held out for
            the comparison.

    Returns:
        The path, and how the file compares with the model.

    Raises:
        FileExistsError: If the path is a folder that exists, or, for a SavedModel, anything that exists; or if a file
            that belongs beside it exists alone.
        MemoryError: If memory runs out.
        ModuleNotFoundError: If a package is missing.
        OSError: If the file cannot be written.
        RuntimeError: If the runtime gives other results than Keras; nothing is written then.
        TypeError: If the model is not a Keras model.
        ValueError: If an option is invalid, if the format cannot hold the model, or if the runtime cannot run the file.
    """
    check_model(model)
    backend = keras.backend.backend()
    fixed = model.inputs[0].shape[1:3]
    if size is None and None not in fixed:
        size = fixed
    path = check_options(
        format, path, backend=backend, size=size, output=output, precision=precision, calibration=calibration
    )
    chosen = FORMATS[format]
    if size and any(side not in (None, given) for side, given in zip(fixed, size, strict=True)):
        takes = "x".join("any" if side is None else str(side) for side in fixed)
        raise ValueError(f"{model.name} takes images of {takes} pixels, got the size {size[0]}x{size[1]}")
    step = step_of(model)
    if size and (wrong := [side for side, own in zip(size, fixed, strict=True) if own is None and side % step]):
        raise ValueError(
            f"{model.name} takes heights and widths that are multiples of {step}, got {wrong[0]}: round size= up"
        )
    if precision == "int8" and model.inputs[0].shape[0] not in (None, 1):
        raise ValueError(f"int8 needs a model for any number of images, {model.name} has a fixed batch size")
    batch = model.inputs[0].shape[0] or (1 if size and (chosen.single or backend == "torch") else None)
    shape = known_shape(model, (batch, *(size or (None, None))))
    images, held, truth = split(model, calibration, shape[1:3])
    text = json.dumps(_description(model, shape, step, output, precision), ensure_ascii=False)
    task = Task(model, shape, output, precision, images, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".kseg-") as folder:
        written = pathlib.Path(folder, path.name)
        exported = _written(task, format, written)
        if held:
            report = compare_int8(exported, model, held, truth)
        else:
            share = check_agreement(exported, model, street_images(model, size), precision)
            report = Report(path, share)
        del exported  # which may hold the file open
        for each in sorted(pathlib.Path(folder).iterdir()):  # OpenVINO's weights before the graph
            os.replace(each, path.with_name(each.name))
        atomic_write(path.with_name(path.name + ".json"), text.encode())
    report = report._replace(path=path)
    if report.warning:
        warnings.warn(report.warning, stacklevel=2)
    return report


def _written(task: Task, format: str, path: pathlib.Path) -> Exported:
    """Writes the file and opens it."""
    with _quiet():
        try:
            importlib.import_module(f"kseg.export._{format}").write(task, path)
        except (OSError, MemoryError, ImportError):
            raise
        except Exception as error:  # converters have error types of their own
            if is_out_of_memory(error):
                text = f"memory ran out while {task.model.name} was converted to {format}: {reason(error)}"
                raise MemoryError(text) from error
            raise ValueError(f"{format} cannot hold {task.model.name}: {reason(error)}") from error
        return Exported(path, trusted=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the converters, which warn about other packages and about their own ways."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _description(
    model: keras.Model, shape: tuple[int | None, ...], step: int, output: str, precision: str
) -> dict[str, Any]:
    """Returns what the file says of itself; a model without names and colors gets those of `kseg predict`."""
    scores, channels = "logits" if gives_logits(model) else "probabilities", model.outputs[0].shape[-1]
    known, count = description_of(model), max(2, channels)
    known["classes"] = known["classes"] or default_names(count)
    known["palette"] = known["palette"] or default_palette(count)
    return {
        "kseg": kseg.__version__,
        **known,
        "name": model.name,
        "shape": shape,
        "step": step,
        "dtype": model.inputs[0].dtype,
        "num_classes": channels,
        "output": scores if output == "scores" else output,
        "precision": precision,
    }
