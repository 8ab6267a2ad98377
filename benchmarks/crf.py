"""What a CRF costs and what it is worth: dense CRF against the authors' code; CamVid without and with CRFs.

`python -m benchmarks.crf HEIGHT WIDTH` measures the cost in a process of its own, so that its memory can be told.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks import machine
from kseg import data, metrics
from kseg.inference import Predictor, dense_crf, tune_crf
from kseg.layers import ConvCRF
from kseg.training.memory import process_peak

ROOT = pathlib.Path(__file__).parents[1]
CLASSES, ITERATIONS, REPEATS = 12, 10, 5
CONV_GRID = {
    "appearance_rgb": (3, 10, 20),
    "appearance_xy": (10, 30, 67),
    "appearance": (0, 1, 4),
    "smoothness": (0, 1, 3),
}


def cost(size: tuple[int, int]) -> dict[str, Any]:
    """Times a dense CRF and the authors' code in turn, in this process, construction included.

    Args:
        size: Height and width of the image.

    Returns:
        `seconds` and `reference_seconds` (medians of five runs each), their `ratio`, `memory_mb` (by how much ours
        raised the process's greatest memory), `labels` (share of pixels on which the two agree) and `difference`
        (mean of the absolute differences of the probabilities).
    """
    from pydensecrf import densecrf

    image, label = data.streets("test", count=1, size=size)[0]
    scores = 2 * np.eye(CLASSES)[np.minimum(label, CLASSES - 1)]
    scores = scores + np.random.default_rng(0).normal(size=scores.shape)
    p = (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype("float32")

    def theirs() -> np.ndarray:
        field = densecrf.DenseCRF2D(size[1], size[0], CLASSES)
        field.setUnaryEnergy(np.ascontiguousarray(-np.log(p.reshape(-1, CLASSES).T)))
        field.addPairwiseGaussian(sxy=3, compat=3)
        field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(image), compat=4)
        return np.array(field.inference(ITERATIONS)).T.reshape(p.shape)

    def ours() -> np.ndarray:
        return dense_crf(image, p, iterations=ITERATIONS)

    before = process_peak()
    found = ours()
    memory = machine.memory_raised(before)
    reference = theirs()
    times: dict[Callable, list[float]] = {ours: [], theirs: []}
    for _ in range(REPEATS):
        for way, seconds in times.items():
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    mine, other = (statistics.median(seconds) for seconds in times.values())
    return {
        "seconds": round(mine, 3),
        "reference_seconds": round(other, 3),
        "ratio": round(mine / other, 2),
        "memory_mb": memory,
        "labels": round(float((found.argmax(-1) == reference.argmax(-1)).mean()), 4),
        "difference": round(float(np.abs(found - reference).mean()), 5),
    }


def cost_apart(size: tuple[int, int] = (360, 480)) -> dict[str, Any]:
    """What `cost` returns, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.crf", *map(str, size)]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def conv_crf(image: np.ndarray, p: np.ndarray, **options: float) -> np.ndarray:
    """`ConvCRF` with the interface of `dense_crf`."""
    layer = ConvCRF(from_logits=False, activation="softmax", **options)
    return keras.ops.convert_to_numpy(layer(p[None], image[None].astype("float32")))[0]


def worth(
    model: keras.Model,
    splits: Mapping[str, data.Dataset],
    *,
    count: int = 20,
    grids: Mapping[str, Mapping] | None = None,
) -> pd.DataFrame:
    """Scores a model without a CRF, with ConvCRF and with the dense CRF; their parameters are searched first.

    Args:
        model: Gives the probabilities.
        splits: What is scored; the first one is what the parameters are searched on.
        count: Images of the search.
        grids: For `"conv"` and `"dense"`, the values to try; None takes the benchmark's own.

    Returns:
        A row a split and way: `miou`, `pixel_accuracy`, `boundary_f1` (mean of the classes), `seconds` an image that
        the way adds, and the parameters found.
    """
    predictor = Predictor(model)
    first = next(iter(splits.values()))
    grids = grids or {"conv": CONV_GRID}
    ways: dict[str, tuple[Callable, dict]] = {"without": (lambda image, p: p, {})}
    for name, key, refine in (("ConvCRF", "conv", conv_crf), ("dense CRF", "dense", dense_crf)):
        options = {"grid": grids[key]} if key in grids else {}
        ways[name] = refine, tune_crf(predictor, first, count=count, refine=refine, **options)["options"]
    rows = []
    for split, dataset in splits.items():
        classes = len(dataset.classes)
        pairs: dict[str, list] = {name: [] for name in ways}
        seconds = dict.fromkeys(ways, 0.0)
        for index in range(len(dataset)):
            image, label = dataset[index]
            p = predictor.probabilities(image)
            for name, (refine, options) in ways.items():
                start = time.perf_counter()
                pairs[name].append((label, refine(image, p, **options).argmax(-1).astype("uint8")))
                seconds[name] += time.perf_counter() - start
        for name, (_, options) in ways.items():
            matrices = [metrics.confusion_matrix(label, found, classes) for label, found in pairs[name]]
            reached = metrics.scores(sum(matrices))
            rows.append(
                {
                    "way": name,
                    "split": split,
                    "images": len(dataset),
                    "miou": round(reached["miou"], 4),
                    "pixel_accuracy": round(reached["pixel_accuracy"], 4),
                    "boundary_f1": round(float(np.nanmean(metrics.boundary_f1(pairs[name], classes))), 4),
                    "seconds": round(seconds[name] / len(dataset), 3),
                    "parameters": " ".join(f"{key}={value:g}" for key, value in options.items()),
                }
            )
    return pd.DataFrame(rows)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rounds for the page.

    Args:
        rows: What `worth` returned.

    Returns:
        Columns of text.
    """
    return pd.DataFrame(
        {
            "way": rows["way"],
            "split": rows["split"],
            "mIoU": [f"{100 * value:.1f}" for value in rows["miou"]],
            "pixel accuracy": [f"{100 * value:.1f}" for value in rows["pixel_accuracy"]],
            "boundary F1": [f"{100 * value:.1f}" for value in rows["boundary_f1"]],
            "added seconds an image": [f"{value:.2f}" for value in rows["seconds"]],
            "parameters": rows["parameters"].fillna(""),
        }
    )


if __name__ == "__main__":
    print(json.dumps(cost((int(sys.argv[1]), int(sys.argv[2])))))
