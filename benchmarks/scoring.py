"""What scores cost: an evaluation with them against prediction alone, in turn, in one run."""

import statistics
import time
from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks import machine
from kseg import data, metrics, zoo
from kseg.inference import Predictor


def compare(size: tuple[int, int] = (360, 480), batch_size: int = 8, repeats: int = 7) -> dict[str, Any]:
    """Times a U-Net's prediction of a batch without and with scores.

    Args:
        size: Height and width of the images.
        batch_size: Images.
        repeats: Runs of each, in turn; medians are compared.

    Returns:
        `backend`, `predict_ms`, `scores_ms` (what scoring adds, from scores of the net to the confusion matrix),
        `share` (the second to the first), `size`, `batch_size` and `device`.
    """
    streets = data.streets("val", count=batch_size, size=size)
    images, labels = (np.stack(arrays) for arrays in zip(*(streets[i] for i in range(batch_size)), strict=True))
    classes = len(streets.classes)
    model = zoo.unet(classes, encoder_weights=None)
    predictor = Predictor(model)

    def with_scores() -> Any:
        return metrics.confusion_matrix(labels, predictor.labels(images), classes)

    ways = {"predict": lambda: model.predict_on_batch(images), "scores": with_scores}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):  # the first run compiles
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(1000 * (time.perf_counter() - start))
    predict, scored = (statistics.median(values[1:]) for values in times.values())
    return {
        "backend": keras.backend.backend(),
        "predict_ms": round(predict, 1),
        "scores_ms": round(scored - predict, 1),
        "share": round((scored - predict) / predict, 4),
        "size": f"{size[0]}x{size[1]}",
        "batch_size": batch_size,
        "device": machine.device(),
    }


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rounds for the page.

    Args:
        rows: What `compare` returned, a row a backend.

    Returns:
        Columns of text.
    """
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
