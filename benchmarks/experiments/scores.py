"""Time what scoring adds to an evaluation, relative to the prediction alone."""

from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks import machine
from kseg import data, metrics, zoo
from kseg.inference import Predictor

KEY = "backend"
REPEATS = 7


def measure(
    *,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the images.")] = (360, 480),
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 8,
) -> pd.DataFrame:
    """Time what scoring adds to an evaluation, relative to a U-Net's prediction, on this backend."""
    streets = data.streets("val", count=batch_size, size=size)
    images, labels = (np.stack(arrays) for arrays in zip(*(streets[i] for i in range(batch_size)), strict=True))
    classes = len(streets.classes)
    model = zoo.unet(classes, encoder_weights=None)
    predictor = Predictor(model)

    def with_scores() -> Any:
        return metrics.confusion_matrix(labels, predictor.labels(images), classes)

    predict, scored = machine.median_seconds(lambda: model.predict_on_batch(images), with_scores, repeats=REPEATS)
    row = {
        "backend": keras.backend.backend(),
        "predict_ms": round(1000 * predict, 1),
        "scores_ms": round(1000 * (scored - predict), 1),
        "share": round((scored - predict) / predict, 4),
        "size": f"{size[0]}x{size[1]}",
        "batch_size": batch_size,
        "device": machine.device(),
    }
    return pd.DataFrame([row])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "backend": rows["backend"],
            "prediction": [f"{value:.1f} ms" for value in rows["predict_ms"]],
            "scores add": [f"{value:.1f} ms" for value in rows["scores_ms"]],
            "share": [f"{100 * value:.1f} %" for value in rows["share"]],
            "batch": [f"{count} of {size}" for count, size in zip(rows["batch_size"], rows["size"], strict=True)],
            "device": rows["device"],
        }
    )
