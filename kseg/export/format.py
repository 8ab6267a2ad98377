"""The checks of what a format can do; nothing here imports Keras."""

import os
import pathlib
import re
from typing import Any

from kseg.engines import RUNTIMES, check_backend, check_installed

FORMATS = RUNTIMES
"""The formats by name; each has a module, `_openvino.py` for `"openvino"`, with the function `write`."""
OUTPUTS = ("scores", "probabilities", "labels")
PRECISIONS = ("float32", "float16", "int8")


def default_path(model: str, format: str) -> pathlib.Path:
    """Returns the path of an exported file in the current folder, by the name or the path of its model.

    Args:
        model: A released name, a path or an address.
        format: A key of `FORMATS`.

    Example:
        >>> default_path("runs/camvid/best.safetensors", "onnx").name, default_path("hf://a/b", "saved_model").name
        ('best.onnx', 'b_saved_model')
    """
    name = pathlib.PurePath(re.sub(r"[?#].*", "", model.split("://")[-1])).name
    stem = re.sub(r"\.(safetensors|weights\.h5|keras|h5|hdf5)$", "", name) or "model"
    suffix = FORMATS[format].suffix
    return pathlib.Path(stem + suffix if suffix else f"{stem.replace('.', '_')}_saved_model")


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
        others = [name for name, one in FORMATS.items() if precision in one.precisions]
        use = f": use {', '.join(others)}" if others else ""
        raise ValueError(f"{format} takes the precision {' or '.join(chosen.precisions)}, got {precision!r}{use}")
    check_backend(format, chosen, backend)
    if precision == "int8" and calibration is None:
        raise ValueError("int8 needs typical images, which set the ranges of the integers: add calibration=")
    if precision != "int8" and calibration is not None:
        raise ValueError(f"calibration= is for int8, got {precision}: leave it out, or add precision=int8")
    if precision == "int8" and backend != "tensorflow":
        raise ValueError("int8 needs TensorFlow as the backend: set KERAS_BACKEND=tensorflow")
    if size is None and backend not in chosen.any_size:
        raise ValueError(f"{format} needs the size of the images with the backend {backend}: add size=")
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be the height and the width of the images, got {size}")
    if not path.name:
        raise ValueError(f"{path} is no name of a file: give path= a name, such as model{chosen.suffix}")
    if chosen.suffix and path.suffix != chosen.suffix:
        cure = path.with_suffix(chosen.suffix)
        raise ValueError(f"the name of the file must end in {chosen.suffix}, got {path}: use {cure}")
    if not chosen.suffix and path.suffix:
        raise ValueError(
            f"a SavedModel is a folder: give path= a name without a suffix, such as {path.with_suffix('')}"
        )
    if path.is_dir() or (not chosen.suffix and path.exists()):
        raise FileExistsError(f"{path} exists: choose another name (path=)")
    beside = [path.with_suffix(".bin")] if chosen.suffix == ".xml" else []
    beside.append(path.with_name(path.name + ".json"))
    if not path.exists() and (taken := next((each for each in beside if each.exists()), None)):
        raise FileExistsError(f"{taken} exists, and {path.name} would replace it: choose another name (path=)")
    more = chosen.int8_converters if precision == "int8" else ()
    check_installed(format, (*chosen.packages, *chosen.converters, *more))
    return path
