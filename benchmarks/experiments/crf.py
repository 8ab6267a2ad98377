"""Score a model on CamVid without a CRF, with ConvCRF and with the dense CRF."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks import machine, tables
from kseg import data, download, metrics, pretrained, zoo
from kseg.inference import Predictor, dense_crf, predictions, tune_crf
from kseg.layers import ConvCRF

CONV_GRID = {
    "appearance_rgb": (3, 10, 20),
    "appearance_xy": (10, 30, 67),
    "appearance": (0, 1, 4),
    "smoothness": (0, 1, 3),
}


def conv_crf(image: np.ndarray, p: np.ndarray, **options: Any) -> np.ndarray:
    """Applies `ConvCRF` with the interface of `dense_crf`."""
    layer = ConvCRF(from_logits=False, activation="softmax", **options)
    return keras.ops.convert_to_numpy(layer(p[None], image[None].astype("float32")))[0]


@dataclasses.dataclass
class Way:
    """A way to label an image: a predictor, and what refines its probabilities. `seconds` counts the refinement."""

    predictor: Predictor
    refine: Callable[..., np.ndarray]
    options: Mapping[str, float]
    seconds: float = 0.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Labels an image `(H, W, C)`: class ids `(H, W)`."""
        p = self.predictor.probabilities(image)
        start = time.perf_counter()
        labels = self.refine(image, p, **self.options).argmax(-1).astype("uint8")
        self.seconds += time.perf_counter() - start
        return labels


def compare(
    model: keras.Model,
    splits: Mapping[str, data.Dataset],
    *,
    count: int = 20,
    grids: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Scores a model without a CRF, with ConvCRF and with the dense CRF: one row per split and way.

    `grids` are the values to try for `"conv"` and `"dense"`. The parameters are searched on `count` images of the first
    split, whose rows include these images. `boundary_f1` is the mean of the classes, `seconds` what the way adds to
    each image of the last split, and `search_images` is 0 for a way without parameters.
    """
    predictor = Predictor(model)
    first, last = next(iter(splits.values())), [*splits][-1]
    grids = grids or {"conv": CONV_GRID}
    rows = []
    ways = {"without": Way(predictor, lambda image, p: p, {})}
    for name, key, refine in (("ConvCRF", "conv", conv_crf), ("dense CRF", "dense", dense_crf)):
        options = {"grid": grids[key]} if key in grids else {}
        found = tune_crf(predictor, first, count=count, refine=refine, **options)
        ways[name] = Way(predictor, refine, found["options"])
    for split, dataset in splits.items():
        classes = len(dataset.classes)
        for way in ways.values():
            way.seconds = 0.0
        labeled = list(predictions(dataset, list(ways.values())))
        for place, (name, way) in enumerate(ways.items()):
            pairs = [(each.label, each.predicted[place]) for each in labeled]
            scores = metrics.scores(sum(each.matrices(dataset)[place] for each in labeled))
            rows.append(
                {
                    "way": name,
                    "split": split,
                    "images": len(dataset),
                    "miou": round(scores["miou"], 4),
                    "pixel_accuracy": round(scores["pixel_accuracy"], 4),
                    "boundary_f1": round(float(np.nanmean(metrics.boundary_f1(pairs, classes))), 4),
                    "seconds": round(way.seconds / len(dataset), 3) if split == last else None,
                    "parameters": " ".join(f"{key}={value:g}" for key, value in way.options.items()),
                    "search_images": min(count, len(first)) if way.options else 0,
                    "device": machine.device(),
                    "backend": keras.backend.backend(),
                }
            )
    return pd.DataFrame(rows)


def measure(
    *,
    weights: Annotated[str, typer.Option(help="A weight file or the name of released weights.")],
    data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None,
) -> pd.DataFrame:
    """Score a model on CamVid without a CRF, with ConvCRF and with the dense CRF."""
    file = pathlib.Path(pretrained.locate(weights))
    splits = {name: data.load("camvid", name, root=data_root) for name in ("val", "test")}
    return compare(zoo.load(file), splits).assign(weights_sha256=download.file_sha256(file)[:12])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "way": rows["way"],
            "split": rows["split"],
            "mIoU": [tables.percent(value) for value in rows["miou"]],
            "pixel accuracy": [tables.percent(value) for value in rows["pixel_accuracy"]],
            "boundary F1": [tables.percent(value) for value in rows["boundary_f1"]],
            "added seconds per image": ["" if pd.isna(value) else f"{value:.2f}" for value in rows["seconds"]],
            "parameters": rows["parameters"].fillna(""),
            "searched on": [f"{count} images" if count else "" for count in rows["search_images"]],
            "weights": rows["weights_sha256"],
            "device": rows["device"],
            "backend": rows["backend"],
        }
    )
