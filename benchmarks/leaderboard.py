"""Leaderboards: one CSV a suite, one row a run, and their tables for README.md. No number in them is typed by hand."""

import hashlib
import inspect
import io
import os
import pathlib
import platform
import statistics
import subprocess
import time
from typing import Any

import keras
import numpy as np
import pandas as pd

from kseg import data, pretrained, zoo
from kseg.training import Recipe

LEADERBOARDS = pathlib.Path(__file__).parent / "leaderboards"
KEY = ["suite", "name", "recipe", "seed", "backend", "device"]
"""Rows that agree in these are the same run: the later one replaces the earlier."""
PACKAGES = ("kseg", "python", "keras", "numpy", "albumentations", "grain")
SCORES = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def row(
    suite: str,
    name: str,
    recipe: Recipe,
    result: dict[str, Any],
    scores: dict[str, Any],
    model: keras.Model,
    test: data.Dataset,
    weights: pathlib.Path,
    commit: str,
) -> dict[str, Any]:
    """Puts together what a leaderboard says of one run.

    Args:
        suite: The suite's name.
        name: The model's name in it.
        recipe: The run's recipe.
        result: What `kseg.training.train` returned.
        scores: What `kseg.training.evaluate` returned for the test split.
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
        "suite": suite,
        "name": name,
        "model": recipe.model.builder,
        "encoder": recipe.model.encoder if "encoder" in options else "its own",
        "encoder_weights": recipe.model.encoder_weights if "encoder_weights" in options else "none",
        "dataset": test.name,
        "split": "test",
        "size": "x".join(map(str, image.shape[:2])),
        "recipe": recipe.hash(),
        "commit": commit,
        "seed": recipe.seed,
        "epochs": result["epochs"],
        "epoch": result["epoch"],
        **{name: round(scores[name], 4) for name in SCORES},
        "val_miou": _rounded(result["scores"].get("miou")),
        **{f"iou_{name}": _rounded(value) for name, value in scores["iou"].items()},
        "parameters": result["parameters"],
        "seconds": round(result["seconds"], 1),
        "inference_ms": round(_inference_ms(model, image), 1),
        "device": device(),
        "backend": result["backend"],
        "versions": " ".join(f"{package}={result[package]}" for package in (*PACKAGES, result["backend"])),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def current_commit() -> str:
    """Returns the checkout's commit, with a `+` where the code differs from it; empty outside git.

    New rows in the leaderboards are no change of the code.
    """
    git = ["git", "-C", str(LEADERBOARDS.parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ":/", ":(exclude)leaderboards"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def device() -> str:
    """Names what the model ran on: the GPU, or the number of cores of the processor."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    elif backend == "jax":
        import jax

        if jax.devices()[0].platform == "gpu":
            return jax.devices()[0].device_kind
    else:
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def _inference_ms(model: keras.Model, image: np.ndarray, repeats: int = 5) -> float:
    """Median milliseconds for one image at full size, after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        model.predict_on_batch(image[None])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def read(path: pathlib.Path) -> pd.DataFrame:
    """Reads a leaderboard.

    Args:
        path: A CSV file; it need not be there yet.

    Returns:
        One row a run.
    """
    return pd.read_csv(path, dtype={"recipe": str, "commit": str}) if path.is_file() else pd.DataFrame()


def add(path: pathlib.Path, new: dict[str, Any]) -> None:
    """Adds a row to a leaderboard, whole or not at all; the same run's earlier row goes.

    Args:
        path: The CSV file.
        new: What `row` returned.
    """
    rows = pd.concat([read(path), pd.DataFrame([new])], ignore_index=True)
    rows = rows.drop_duplicates(KEY, keep="last")
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    pretrained.write_aside(path, text.getvalue().encode())


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Picks what fits on a page: the best first, percentages for scores.

    Args:
        rows: A leaderboard.

    Returns:
        Columns of text.
    """
    rows = rows.sort_values("miou", ascending=False)
    return pd.DataFrame(
        {
            "name": rows["name"],
            "model": rows["model"],
            "encoder": rows["encoder"],
            "mIoU": [f"{100 * value:.1f}" for value in rows["miou"]],
            "pixel accuracy": [f"{100 * value:.1f}" for value in rows["pixel_accuracy"]],
            "parameters": [f"{value / 1e6:.2f} M" for value in rows["parameters"]],
            "epochs": rows["epochs"].astype(str),
            "training": [f"{value / 60:.1f} min" for value in rows["seconds"]],
            "inference": [f"{value:.0f} ms" for value in rows["inference_ms"]],
            "size": rows["size"],
            "device": rows["device"],
            "backend": rows["backend"],
        }
    )


def markdown(table: pd.DataFrame) -> str:
    """Renders a table for README.md.

    Args:
        table: Columns of text.

    Returns:
        A Markdown table.
    """
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
