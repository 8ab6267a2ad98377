"""Leaderboards: one CSV a suite, one row a run. No number in them is typed by hand."""

import inspect
import io
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import filelock
import keras
import numpy as np
import pandas as pd

from benchmarks import suite as suites
from benchmarks.machine import current_commit, device
from benchmarks.suite import Suite
from benchmarks.tables import markdown, shown
from kseg import data, download, metrics, pretrained, zoo
from kseg.encoders import bsds500
from kseg.inference import Predictor
from kseg.training import Recipe

__all__ = ["add", "current_commit", "device", "fill", "markdown", "read", "row", "shown", "test_time_miou"]

LEADERBOARDS = pathlib.Path(__file__).parent / "leaderboards"
KEY = ["suite", "name", "recipe", "seed", "backend", "device"]
"""Rows that agree in these are the same run: the later one replaces the earlier."""
TYPES: dict[str, Any] = {
    **dict.fromkeys(("recipe", "family", "commit", "peer", "budget", "crop", "pretraining"), "str"),
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
    model: keras.Model,
    test: data.Dataset,
    weights: pathlib.Path,
    commit: str,
) -> dict[str, Any]:
    """Puts together what a leaderboard says of one run.

    Args:
        suite: The suite.
        name: The model's name in it.
        recipe: The run's recipe.
        result: What `kseg.training.train` returned.
        scores: What `kseg.training.evaluate` returned for the test split.
        test_time: What `test_time_miou` returned, if it was asked for.
        model: The trained model.
        test: The test split.
        weights: The file of the trained weights.
        commit: What `current_commit` said when the run was begun.

    Returns:
        `{column: value}`.
    """
    image = test[0][0]
    options = inspect.signature(zoo.BUILDERS[recipe.model.builder]).parameters
    return {
        **described(suite, name, recipe),
        "model": recipe.model.builder,
        "encoder": recipe.model.encoder if "encoder" in options else "its own",
        "encoder_weights": recipe.model.encoder_weights if "encoder_weights" in options else "none",
        "commit": commit,
        "epochs": result["epochs"],
        "epoch": result["epoch"],
        **tested(test, result["scores"], scores, test_time),
        "parameters": result["parameters"],
        "multiply_adds": cost(model, image.shape[:2]),
        "seconds": round(result["seconds"], 1),
        "images_per_second": _rounded(result.get("images_per_second"), 1),
        "peak_memory_mb": megabytes(result.get("peak_memory")),
        "inference_ms": round(inference_ms(model.predict_on_batch, image), 1),
        "device": device(),
        "backend": result["backend"],
        "versions": " ".join(f"{package}={result[package]}" for package in (*PACKAGES, result["backend"])),
        "weights_sha256": download.file_sha256(weights),
    }


def described(suite: Suite, name: str, recipe: Recipe) -> dict[str, Any]:
    """Returns the columns that suite and recipe know before anything runs."""
    crop = recipe.data.crop
    return {
        "suite": suite.title,
        "name": name,
        "peer": None,
        "budget": suite.budget or None,
        "recipe": recipe.hash(),
        "family": family(recipe),
        "seed": recipe.seed,
        "precision": recipe.precision,
        "batch_size": recipe.data.batch_size,
        "crop": None if crop is None else "x".join(map(str, crop)),
        "pretraining": pretraining(recipe),
    }


def pretraining(recipe: Recipe) -> str:
    """Says what the weights knew that a run began with: data sets, `"none"`, or a file's name."""
    if recipe.model.start is not None:
        return recipe.model.start
    if "encoder_weights" not in inspect.signature(zoo.BUILDERS[recipe.model.builder]).parameters:
        return "none"
    return PRETRAINING.get(recipe.model.encoder_weights, recipe.model.encoder_weights)


def family(recipe: Recipe) -> str:
    """Returns the hash of a recipe but for its seed."""
    return recipe.model_copy(update={"seed": 0}).hash()


def tested(
    test: data.Dataset, validation: Mapping[str, Any], scores: Mapping[str, Any], test_time: float | None
) -> dict[str, Any]:
    """Returns the columns of scores, and what they were measured on."""
    matrix = np.asarray(scores["confusion_matrix"])
    errors = matrix[0, 1] + matrix[1, 0]
    binary = {"dice": round(2 * matrix[1, 1] / max(2 * matrix[1, 1] + errors, 1), 4)} if len(matrix) == 2 else {}
    sizes = {test.size(place) for place in np.unique(np.linspace(0, len(test) - 1, 16).astype(int))}
    return {
        "dataset": test.name,
        "split": "test",
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
    """Returns bytes as megabytes of 2**20."""
    return None if count is None else round(count / 2**20)


def cost(model: keras.Model, size: tuple[int, int]) -> int | None:
    """Returns the multiply-adds for an image, or None where the model cannot take its size."""
    try:
        return zoo.multiply_adds(model, size)
    except ValueError:
        return None


def inference_ms(predict: Any, image: np.ndarray, repeats: int = 5) -> float:
    """Median milliseconds for one image at full size, after a warm-up.

    Args:
        predict: From images `(1, H, W, C)` to an array.
        image: `(H, W, C)`.
        repeats: How often it is measured.

    Returns:
        Milliseconds.
    """
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        predict(image[None])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def test_time_miou(
    model: keras.Model, test: data.Dataset, *, flip: bool | str = False, scales: tuple[float, ...] = (1.0,)
) -> float:
    """Scores a model whose probabilities are averaged over mirrored and scaled images.

    Args:
        model: The model.
        test: Images and labels.
        flip: Whether mirrored images count too, as in `Predictor`.
        scales: Sizes to predict at.

    Returns:
        mIoU, from one confusion matrix over all pixels.
    """
    return metrics.scores(confusion(Predictor(model, flip=flip, scales=scales), test))["miou"]


def confusion(predict: Callable[[np.ndarray], np.ndarray], test: data.Dataset) -> np.ndarray:
    """Counts the pixels of a split, whatever labels them.

    Args:
        predict: From an image `(H, W, C)` to its labels `(H, W)`.
        test: Images and labels.

    Returns:
        int64 `(C, C)`, rows are the true classes.
    """
    classes = len(test.classes)
    matrix = np.zeros(classes**2, "int64")
    for place in range(len(test)):
        image, label = test[place]
        kept = label != test.ignore_class
        matrix += np.bincount(label[kept].astype("int64") * classes + predict(image)[kept], minlength=classes**2)
    return matrix.reshape(classes, classes)


def read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a leaderboard.

    Args:
        path: A CSV file; it need not be there yet.

    Returns:
        One row a run.
    """
    return pd.read_csv(path, dtype=TYPES) if path.is_file() else pd.DataFrame()


def add(path: pathlib.Path, new: Mapping[str, Any]) -> None:
    """Adds a row to a leaderboard, whole or not at all; the same run's earlier row goes. Processes may do so at once.

    Args:
        path: The CSV file.
        new: What `row` returned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        old = read(path)
        rows = pd.DataFrame([*old.to_dict("records"), new])
        columns = [*new, *(column for column in old.columns if column not in new)]
        _write(path, rows.drop_duplicates(KEY, keep="last")[columns])


def _write(path: pathlib.Path, rows: pd.DataFrame) -> None:
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    pretrained.atomic_write(path, text.getvalue().encode())


def fill(path: pathlib.Path) -> int:
    """Fills what older rows lack and no training is needed for: multiply-adds, and what the suite's recipe says.

    Args:
        path: The CSV file, of a suite in `benchmarks/suites`.

    Returns:
        The number of rows whose recipe is still in the suite; others stay as they are.
    """
    known: dict[str, tuple[Suite, Recipe]] = {}
    for budget in suites.budgets(path.stem):
        suite = suites.load(path.stem, budget)
        for recipe in suite.recipes.values():
            seeded = [recipe.model_copy(update={"seed": seed}) for seed in (recipe.seed, *suite.seeds)]
            known |= {each.hash(): (suite, each) for each in seeded}
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        board = read(path)
        classes = sum(column.startswith("iou_") for column in board)
        rows = board.to_dict("records")
        found = [line for line in rows if line["recipe"] in known]
        for line in found:
            suite, recipe = known[line["recipe"]]
            for column, value in described(suite, line["name"], recipe).items():
                if pd.isna(line.get(column)):
                    line[column] = value
            if pd.isna(line.get("multiply_adds")) and line["size"] != "various":
                height, width = map(int, line["size"].split("x"))
                line["multiply_adds"] = cost(_untrained(recipe, 1 if classes == 2 else classes), (height, width))
        first = described(suite, "", recipe) if found else {}
        order = dict.fromkeys([*first, *(column for line in rows for column in line)])
        _write(path, pd.DataFrame(rows)[list(order)])
    return len(found)


def _untrained(recipe: Recipe, num_classes: int) -> keras.Model:
    options = inspect.signature(zoo.BUILDERS[recipe.model.builder]).parameters
    arguments: dict[str, Any] = {"input_shape": (None, None, 3), **recipe.model.options}
    if "encoder" in options:
        arguments["encoder"] = recipe.model.encoder
    if "encoder_weights" in options:
        arguments["encoder_weights"] = None
    return zoo.build(recipe.model.builder, num_classes, **arguments)
