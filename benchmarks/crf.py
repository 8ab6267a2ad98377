"""What a CRF costs and what it is worth: dense CRF against the authors' code; CamVid without and with CRFs.

`python -m benchmarks.crf '{"name": "streets"}'` measures the cost in a process of its own, so that its memory can be
told; the arguments are those of `picture`.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks import machine
from kseg import data, download, metrics
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


PICTURES = {"streets": "drawn street", "camvid": "CamVid, test"}


def pictures(data_root: str | None = None) -> list[str]:
    """Names the data sets that are at hand, of those that the cost is measured on; nothing is downloaded for it."""
    found = download.find("CamVid", data_root, marker="trainannot")
    return ["streets"] if found is None else ["streets", "camvid"]


def picture(
    name: str, size: Sequence[int] = (360, 480), data_root: str | None = None
) -> tuple[str, np.ndarray, np.ndarray]:
    """Reads the first test image of a data set.

    Args:
        name: A key of `PICTURES`.
        size: Height and width of a drawn street; photographs have their own.
        data_root: Where data sets lie.

    Returns:
        What the image is called, the image `(H, W, 3)` and its label `(H, W)`.
    """
    options = {"count": 1, "size": tuple(size)} if name == "streets" else {}
    return PICTURES[name], *data.load(name, "test", root=data_root, **options)[0]


def cost(name: str, image: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Times a dense CRF and the authors' code in turn, in this process, construction included.

    Args:
        name: What the image is called.
        image: uint8 `(H, W, 3)`.
        label: `(H, W)`; probabilities are drawn around it.

    Returns:
        `image` (its name), `seconds` and `reference_seconds` (medians of five runs each), their `ratio`, `memory_mb`
        (by how much ours raised the process's greatest memory; None where the system does not tell), `labels` (share
        of pixels on which the two agree), `difference` (mean of the absolute differences of the probabilities), `size`
        and `device` (the processor: neither uses the backend).
    """
    from pydensecrf import densecrf

    size = label.shape
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
        "image": name,
        "seconds": round(mine, 3),
        "reference_seconds": round(other, 3),
        "ratio": round(mine / other, 2),
        "memory_mb": memory,
        "labels": round(float((found.argmax(-1) == reference.argmax(-1)).mean()), 4),
        "difference": round(float(np.abs(found - reference).mean()), 5),
        "size": f"{size[0]}x{size[1]}",
        "device": machine.processor(),
    }


def cost_apart(name: str, **options: Any) -> dict[str, Any]:
    """What `cost` returns, measured in a process of its own; the arguments are those of `picture`."""
    command = [sys.executable, "-m", "benchmarks.crf", json.dumps({"name": name, **options})]
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
        the way adds, the parameters found, `search_images` (how many they were searched on; 0 without parameters),
        `device` and `backend`. The rows of the first split include the images of the search.
    """
    predictor = Predictor(model)
    first = next(iter(splits.values()))
    grids = grids or {"conv": CONV_GRID}
    measured_with = {"device": machine.device(), "backend": keras.backend.backend()}
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
                    "search_images": min(count, len(first)) if options else 0,
                    **measured_with,
                }
            )
    return pd.DataFrame(rows)


def read(path: pathlib.Path) -> pd.DataFrame:
    """Reads the scores that the command stored; a SHA-256 of digits alone is no number."""
    return pd.read_csv(path, dtype={"weights_sha256": "str"})


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rounds for the page.

    Args:
        rows: What `worth` returned, and the column `weights_sha256`.

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
            "searched on": [f"{count} images" if count else "" for count in rows["search_images"]],
            "weights": rows["weights_sha256"],
            "device": rows["device"],
            "backend": rows["backend"],
        }
    )


def cost_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rounds for the page.

    Args:
        rows: What `cost` returned, a row an image.

    Returns:
        Columns of text.
    """
    return pd.DataFrame(
        {
            "image": rows["image"],
            "size": rows["size"],
            "seconds": [f"{value:.2f}" for value in rows["seconds"]],
            "authors' code": [f"{value:.2f}" for value in rows["reference_seconds"]],
            "ratio": [f"{value:.2f}" for value in rows["ratio"]],
            "memory": ["" if pd.isna(value) else f"{value:.0f} MB" for value in rows["memory_mb"]],
            "same label": [f"{100 * value:.2f} % of pixels" for value in rows["labels"]],
            "mean difference": [f"{value:.5f}" for value in rows["difference"]],
            "device": rows["device"],
        }
    )


if __name__ == "__main__":
    print(json.dumps(cost(*picture(**json.loads(sys.argv[1])))))
