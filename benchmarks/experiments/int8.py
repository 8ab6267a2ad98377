"""Score a model on CamVid's test split as float32 on Keras and as int8 on OpenVINO."""

import pathlib
from typing import Annotated, Any

import keras
import pandas as pd
import typer

from benchmarks import machine
from kseg import data, download, pretrained, training, zoo
from kseg.inference import Predictor


def compare(model: keras.Model, dataset: data.Dataset, calibration: data.Dataset) -> pd.DataFrame:
    """Scores a model in both ways: one row per way; int8 is calibrated on the images of `calibration`."""
    int8: dict[str, Any] = {"engine": "openvino", "precision": "int8", "calibration": calibration}
    ways: dict[str, dict[str, Any]] = {"Keras, float32": {}, "OpenVINO, int8": int8}
    rows = []
    for name, options in ways.items():
        scores = training.evaluate(Predictor(model, **options), dataset, batch_size=1)
        numbers = {score: round(scores[score], 5) for score in ("miou", "pixel_accuracy")}
        rows.append({"way": name, "images": len(dataset), **numbers})
    table = pd.DataFrame(rows)
    table["lost_points"] = (100 * (table["miou"][0] - table["miou"])).round(3)
    return table.assign(device=machine.processor())


def measure(
    *,
    weights: Annotated[
        str, typer.Option(help="A weight file or the name of released weights.")
    ] = "unet-efficientnet_lite0-camvid",
    data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None,
) -> pd.DataFrame:
    """Score a model on CamVid's test split as float32 and as int8, calibrated on training images; needs TensorFlow."""
    file = pathlib.Path(pretrained.locate(weights))
    test, train = (data.load("camvid", split, root=data_root) for split in ("test", "train"))
    return compare(zoo.load(file), test, train).assign(weights_sha256=download.file_sha256(file)[:12])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for README.md."""
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
