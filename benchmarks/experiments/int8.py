"""Score a model on CamVid's test split as float32 on Keras, and as an int8 file in each runtime."""

import pathlib
import tempfile
from typing import Annotated, Any

import keras
import pandas as pd
import typer

from benchmarks import machine
from kseg import data, download, export, pretrained, training, zoo
from kseg.inference import Predictor

KEY = ["weights_sha256", "way"]
PAGE = "docs/deploy.md"
FORMATS = ("openvino", "onnx", "litert")


def compare(
    model: keras.Model, dataset: data.Dataset, calibration: data.Dataset, formats: tuple[str, ...] = FORMATS
) -> pd.DataFrame:
    """Scores a model and its int8 files: one row per way; int8 is calibrated on the images of `calibration`."""
    height, width = dataset[0][0].shape[:2]
    rows = [_row("Keras, float32", model, dataset)]
    for format in formats:
        chosen = export.FORMATS[format]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "model" + chosen.suffix)
            options: dict[str, Any] = {"size": (height, width), "output": "labels", "precision": "int8"}
            export.export(model, path, format=format, calibration=calibration, **options)
            rows.append(_row(f"{chosen.name}, int8", path, dataset))
    table = pd.DataFrame(rows)
    table["lost_points"] = (100 * (table["miou"][0] - table["miou"])).round(3)
    return table.assign(device=machine.processor())


def _row(way: str, model: Any, dataset: data.Dataset) -> dict[str, Any]:
    scores = training.evaluate(Predictor(model), dataset, batch_size=1)
    return {
        "way": way,
        "images": len(dataset),
        **{score: round(scores[score], 5) for score in ("miou", "pixel_accuracy")},
    }


def measure(
    *,
    weights: Annotated[
        str, typer.Option(help="A weight file or the name of released weights.")
    ] = "unet-efficientnet_lite0-camvid",
    format: Annotated[list[str] | None, typer.Option(help="Only this format; may be repeated.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None,
) -> pd.DataFrame:
    """Score a model on CamVid's test split as float32 and as int8, calibrated on training images; needs TensorFlow."""
    file = pathlib.Path(pretrained.locate(weights))
    test, train = (data.load("camvid", split, root=data_root) for split in ("test", "train"))
    table = compare(zoo.load(file), test, train, tuple(format or FORMATS))
    return table.assign(weights_sha256=download.file_sha256(file)[:12])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "way": rows["way"],
            "mIoU": [f"{100 * value:.2f}" for value in rows["miou"]],
            "points lost": [f"{value:.2f}" for value in rows["lost_points"]],
            "pixel accuracy": [f"{100 * value:.2f}" for value in rows["pixel_accuracy"]],
            "images": rows["images"].astype(str),
            "weights": rows["weights_sha256"],
            "device": rows["device"],
        }
    )
