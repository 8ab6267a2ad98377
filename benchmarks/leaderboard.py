"""Leaderboards: one CSV file per suite, one row per run. No number in them is typed by hand."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks.machine import device, median_seconds, processor_used
from benchmarks.suite import Suite
from kseg import data, download, pretrained, zoo
from kseg.encoders import bsds500
from kseg.inference import Predictor
from kseg.training import Recipe, evaluate

LEADERBOARDS = pathlib.Path(__file__).parent / "leaderboards"
PAGE = pathlib.Path(__file__).parents[1] / "docs/leaderboards.html"
"""All leaderboards as a sortable page of the site."""
KEY = ["suite", "name", "recipe", "seed", "backend", "device"]
"""A new row replaces the row that agrees with it in these columns."""
TYPES: dict[str, Any] = {
    **dict.fromkeys(("recipe", "family", "commit", "peer", "budget", "crop", "pretraining", "processor"), "str"),
    **dict.fromkeys(("parameters", "multiply_adds", "peak_memory_mb", "batch_size"), "Int64"),  # may be empty
}
PRETRAINING = {"imagenet": "ImageNet", bsds500.NAME: "ImageNet+BSDS500"}
PACKAGES = ("kseg", "python", "keras", "numpy", "albumentations", "grain")
SCORES = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def row(
    suite: Suite,
    name: str,
    recipe: Recipe,
    result: Mapping[str, Any],
    scores: Mapping[str, Any],
    test_time: float | None,
    test: data.Dataset,
    weights: pathlib.Path,
    commit: str,
    predict: Callable[[np.ndarray], Any],
    multiply_adds: Callable[[tuple[int, int]], int | None],
) -> dict[str, Any]:
    """Builds the row of a run: `{column: value}`.

    `result` comes from `kseg.training.train`, `scores` from `kseg.training.evaluate` on `test`, which is the suite's
    split, `test_time` from `test_time_miou`, and `commit` from `current_commit` when the run began. `predict` takes a
    batch of images, `multiply_adds` the size of one image.
    """
    image = test[0][0]
    crop, options = recipe.data.crop, zoo.BUILDERS[recipe.model.builder].defaults
    return {
        "suite": suite.title,
        "name": name,
        "peer": None,
        "budget": suite.budget or None,
        "recipe": recipe.hash(),
        "family": recipe.model_copy(update={"seed": 0}).hash(),
        "seed": recipe.seed,
        "precision": recipe.precision,
        "batch_size": recipe.data.batch_size,
        "crop": None if crop is None else "x".join(map(str, crop)),
        "pretraining": pretraining(recipe),
        "model": recipe.model.builder,
        "encoder": recipe.model.encoder if "encoder" in options else "its own",
        "encoder_weights": recipe.model.encoder_weights if "encoder_weights" in options else "none",
        "commit": commit,
        "epochs": result["epochs"],
        "epoch": result["epoch"],
        **_scored(test, suite.split, result["scores"], scores, test_time),
        "parameters": result["parameters"],
        "multiply_adds": multiply_adds(image.shape[:2]),
        "seconds": round(result["seconds"], 1),
        "images_per_second": _rounded(result.get("images_per_second"), 1),
        "peak_memory_mb": megabytes(result.get("peak_memory")),
        "inference_ms": round(1000 * median_seconds(lambda: predict(image[None]), repeats=5)[0], 1),
        "device": _devices(recipe),
        "processor": processor_used(),
        "backend": result["backend"],
        "versions": " ".join(f"{package}={result[package]}" for package in (*PACKAGES, result["backend"])),
        "weights_sha256": download.file_sha256(weights),
    }


def pretraining(recipe: Recipe) -> str:
    """Returns what the initial weights of a run were trained on: data sets, `"none"`, or the name of a file."""
    if recipe.model.start is not None:
        return recipe.model.start
    if "encoder_weights" not in zoo.BUILDERS[recipe.model.builder].defaults:
        return "none"
    return PRETRAINING.get(recipe.model.encoder_weights, recipe.model.encoder_weights)


def _scored(
    test: data.Dataset, split: str, validation: Mapping[str, Any], scores: Mapping[str, Any], test_time: float | None
) -> dict[str, Any]:
    """Returns the columns of the scores, and of what they were measured on."""
    matrix = np.asarray(scores["confusion_matrix"])
    errors = matrix[0, 1] + matrix[1, 0]
    binary = {"dice": round(2 * matrix[1, 1] / max(2 * matrix[1, 1] + errors, 1), 4)} if len(matrix) == 2 else {}
    sizes = {test.size(place) for place in np.unique(np.linspace(0, len(test) - 1, 16).astype(int))}
    return {
        "dataset": test.name,
        "split": split,
        "size": "x".join(map(str, sizes.pop())) if len(sizes) == 1 else "various",
        **{name: round(scores[name], 4) for name in SCORES},
        "miou_test_time": _rounded(test_time),
        "val_miou": _rounded(validation.get("miou")),
        **binary,
        **{f"iou_{name}": _rounded(value) for name, value in scores["iou"].items()},
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def megabytes(count: int | None) -> int | None:
    """Converts bytes to megabytes of 2**20 bytes."""
    return None if count is None else round(count / 2**20)


def cost(model: keras.Model, size: tuple[int, int]) -> int | None:
    """Returns the multiply-adds for one image, or None if the model does not accept its size."""
    try:
        return zoo.multiply_adds(model, size)
    except ValueError:
        return None


def test_time_miou(
    model: keras.Model, test: data.Dataset, *, flip: bool | str = False, scales: tuple[float, ...] = (1.0,)
) -> float:
    """Returns the mIoU of a model whose probabilities are averaged over mirrored and scaled images."""
    return evaluate(Predictor(model, flip=flip, scales=scales), test)["miou"]


def read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a leaderboard, one row per run; the CSV file need not exist yet."""
    return pd.read_csv(path, dtype=TYPES) if path.is_file() else pd.DataFrame()


def all_boards() -> dict[str, pd.DataFrame]:
    """Reads the leaderboards of the checkout by the name of their suite, without those scored on validation images."""
    boards = {path.stem: read(path) for path in sorted(LEADERBOARDS.glob("*.csv"))}
    return {title: rows for title, rows in boards.items() if "val" not in set(rows.get("split", ()))}


def rows_of(board: pd.DataFrame, recipe: Recipe, *, peers: bool = False) -> pd.DataFrame:
    """Returns the rows of a recipe on this backend and this kind of device: those of peers, or those of our models."""
    if board.empty:
        return board
    mine = (board["recipe"] == recipe.hash()) & (board["backend"] == keras.backend.backend())
    mine &= board["device"].map(_kind) == _kind(device())
    return board[mine & (board["peer"].notna() == peers)]


def _devices(recipe: Recipe) -> str:
    count, name = recipe.distribution.devices or 1, device()
    return name if count == 1 or name.startswith("CPU") else f"{count} x {name}"


def _kind(device: str) -> str:
    """All GPUs are one kind of device; a CPU with so many cores is another."""
    return device if device.startswith("CPU") else "GPU"


def row_elsewhere(path: pathlib.Path, recipe: Recipe, split: str) -> dict[str, Any] | None:
    """Returns the row that another leaderboard in the folder of `path` has of a run: `{column: value}` or None.

    Only rows that were scored on `split` count.
    """
    others = (rows_of(read(other), recipe) for other in sorted(path.parent.glob("*.csv")) if other != path)
    found = (row for rows in others for row in rows.to_dict("records") if row["split"] == split)
    return next(({str(key): value for key, value in row.items()} for row in found), None)


def add(path: pathlib.Path, new: Mapping[str, Any]) -> None:
    """Adds a row to a leaderboard, or replaces the earlier row of the same run; several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with download.locked(path):
        old = read(path)
        rows = pd.DataFrame([*old.to_dict("records"), new])
        columns = [*new, *(column for column in old.columns if column not in new)]
        rows = rows.drop_duplicates(KEY, keep="last")[columns]
        pretrained.atomic_write(path, rows.to_csv(index=False, lineterminator="\n").encode())
