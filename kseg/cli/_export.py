"""`kseg export`."""

import contextlib
import importlib.util
import math
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._process import prepare

FormatName = StrEnum("FormatName", ["openvino", "onnx", "litert", "saved_model", "torch"])
Precision = StrEnum("Precision", ["float32", "float16", "int8"])

_OPTIONS = {"calibration=": "--calibrate", "size=": "--size HEIGHT WIDTH", "path=": "-o", "precision=": "--precision "}
"""The arguments in the messages of `kseg.export`, and the options of the command."""


@application.command()
def export(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A released name, a weight file, a run folder or a .keras file.")],
    format: Annotated[
        FormatName, typer.Option(help="The runtime: OpenVINO, ONNX Runtime, LiteRT, TensorFlow, PyTorch.")
    ],
    labels: Annotated[bool, typer.Option("--labels", help="End the graph in class ids, in place of scores.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="End the graph in probabilities.")] = False,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width of the images; by default any size.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="float16 halves the file; int8 computes in 8-bit integers.")
    ] = Precision.float32,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="For int8: a folder or a pattern of typical images, or the name of a data set with its labels; 64 are "
            "used, and every fourth of them is held out to score the result.",
        ),
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option("--out", "-o", help="The file to write; by default MODEL with a new suffix.")
    ] = None,
    data_root: Annotated[
        pathlib.Path | None, typer.Option(help="Folder that holds the data sets.", envvar="KSEG_DATA")
    ] = None,
) -> None:
    """Write a model for another runtime, after running it there and comparing it with the Keras model."""
    with plain_errors(context.obj):
        prepare(training=False)
        from kseg.export import FORMATS, check_options, default_path

        if labels and probabilities:
            raise ValueError("--labels and --probabilities end the graph in different ways: give one of them")
        options: dict[str, Any] = {
            "size": size,
            "output": "labels" if labels else "probabilities" if probabilities else "scores",
            "precision": precision.value,
        }
        chosen = FORMATS[format.value]
        installed = (name for name in chosen.backends if importlib.util.find_spec(name))
        first = next(installed, chosen.backends[0])  # weights are the same on all
        backend = os.environ.setdefault("KERAS_BACKEND", first)
        path = out or default_path(model, format.value)
        with _worded():
            check_options(format.value, path, backend=backend, calibration=calibrate, **options)
        from kseg import data, inference, zoo
        from kseg.export import export as write

        images: Any = None
        if calibrate in data.DATASETS and not os.path.exists(calibrate):
            images = data.load(calibrate, "train", root=data_root)
        elif calibrate is not None:
            images = inference.list_images(calibrate)  # fails here, before the model is read
        loaded = zoo.load(model)
        with _worded(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the mIoU of ")  # printed below
            report = write(loaded, path, format=format.value, calibration=images, **options)
        print(f"{report.path}: {_megabytes(report.path):.1f} MB, run by {chosen.name}")
        if precision == Precision.int8:
            against = (
                f"mIoU {100 * report.miou:.2f}, against {100 * report.keras_miou:.2f} in float32"
                if not math.isnan(report.keras_miou)
                else f"mIoU {100 * report.miou:.2f} against the labels of the Keras model"
            )
            print(f"on images held out from the calibration: {against}; {report.labels:.2%} of the labels are equal")
            if report.warning:
                print(f"warning: {report.warning}", file=sys.stderr)
        else:
            print(f"{report.labels:.2%} of the labels of drawn streets equal those of the Keras model")


def _megabytes(path: pathlib.Path) -> float:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    """Names the options of the command in errors of the export, which name arguments."""
    try:
        yield
    except FileExistsError as error:
        raise FileExistsError(_with_options(str(error))) from error
    except (ValueError, RuntimeError) as error:  # the latter if the runtime gives other labels
        raise ValueError(_with_options(str(error))) from error


def _with_options(text: str) -> str:
    return re.sub(r"(?<![\w/.-])(calibration|size|path|precision)=", lambda found: _OPTIONS[found[0]], text)
