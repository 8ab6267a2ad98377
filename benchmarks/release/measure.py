"""Measure weights before and after storage."""

import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import pandas as pd

from benchmarks import leaderboard
from benchmarks.release.check import FILE, Candidate
from kseg import data, download, pretrained, training, zoo
from kseg.data import Subset
from kseg.progress import Reporter
from kseg.training import versions

LOSS = 5e-4
"""The mIoU that storage in half precision may cost."""
DIGITS = 4
"""Digits after the decimal point in a leaderboard."""
EVERY = 24
"""Tests measure every 24th test image again: ten of CamVid's, which takes seconds on any backend."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Measured weights: the content of their file, the model, the test split, and the content of `metrics.json`."""

    content: bytes
    model: keras.Model
    test: data.Dataset
    metrics: dict[str, Any]


def measured(candidate: Candidate, data_root: str | None) -> Measured:
    """Stores the weights in a temporary file and scores them; refuses a half precision that costs more than `LOSS`."""
    test = training.dataset(candidate.recipe, "test", data_root)
    batch_size = candidate.recipe.data.batch_size
    original = _recorded(candidate) if candidate.is_final else _scores(candidate.file, test, batch_size)
    if not candidate.is_final:
        original["measured"] = f"`kseg.training.evaluate` on the run's {candidate.file.name}"
    with tempfile.TemporaryDirectory() as folder:
        file = candidate.file
        if not candidate.is_final:
            file = pathlib.Path(folder) / FILE
            pretrained.save(zoo.load(candidate.file), file, dtype=candidate.dtype, **candidate.description)
        model, scores = zoo.load(file), _scores(file, test, batch_size)
        metrics = {
            "name": candidate.name,
            "dataset": candidate.description["dataset"],
            "split": "test",
            "size": _sizes(test),
            "dtype": (dtype := candidate.stored if candidate.is_final else str(candidate.dtype)),
            "measured": f"`kseg.training.evaluate` on {keras.backend.backend()}",
            "scores": scores,
            "subset": {"every": EVERY, **_scores(file, Subset(test, EVERY), batch_size)},
            "float32": original,
            "cost": _cost(original, scores),
            "recipe": candidate.description["recipe"],
            "epoch": candidate.description["epoch"],
            "bytes": file.stat().st_size,
            "sha256": download.file_sha256(file),
            "parameters": model.count_params(),
            "versions": {key: value for key, value in versions().items() if key not in ("platform", "processors")},
        }
        if metrics["cost"] > LOSS:
            of_run = "release the best.safetensors of the run with --dtype float32"
            cure = of_run if candidate.is_final else "add --dtype float32"
            raise ValueError(f"{dtype} costs {metrics['cost']:.4f} mIoU, more than {LOSS}: {cure}")
        return Measured(file.read_bytes(), model, test, metrics)


def _scores(file: pathlib.Path, test: data.Dataset, batch_size: int) -> dict[str, Any]:
    scores = training.evaluate(file, test, batch_size=batch_size, reporter=Reporter())
    del scores["seconds"]
    return scores


def _cost(original: Mapping[str, Any], scores: Mapping[str, Any]) -> float:
    """Returns the mIoU that storage costs, rounded like the score before storage."""
    return round(original["miou"] - scores["miou"], original.get("digits", 6)) + 0.0  # not -0.0


def _recorded(candidate: Candidate) -> dict[str, Any]:
    """Returns the scores in the leaderboards of the run whose weights were stored.

    The run is identified by its recipe and its validation score.
    """
    description = candidate.description
    val = round(description["scores"]["miou"], DIGITS)
    for title, rows in leaderboard.all_boards().items():
        for _, row in rows[(rows["recipe"] == description["recipe"]) & (rows["val_miou"] == val)].iterrows():
            ious = {name: row[f"iou_{name}"] for name in description["classes"]}
            return {
                **{name: float(row[name]) for name in leaderboard.SCORES},
                "iou": {name: None if pd.isna(iou) else float(iou) for name, iou in ious.items()},
                "digits": DIGITS,
                "measured": f"row `{row['name']}` of benchmarks/leaderboards/{title}.csv, written when the run ended"
                + ("" if candidate.stored == "float32" else "; its float32 file was not at hand"),
            }
    raise ValueError(f"no leaderboard has a row of recipe {description['recipe']} with a validation mIoU of {val}")


def _sizes(test: data.Dataset) -> str:
    """Returns height and width of the images, or of the smallest and the largest."""
    sizes = sorted({test.size(index) for index in range(len(test))}, key=math.prod)
    return " to ".join(f"{height}x{width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
