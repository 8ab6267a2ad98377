"""Time the dense CRF against its authors' code, on a drawn street and, if CamVid is at hand, one of its test images."""

from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks import machine
from benchmarks.experiments import memory_raised
from benchmarks.process import apart
from kseg import data, download
from kseg.inference import dense_crf
from kseg.training import process_peak

KEY = "image"
CLASSES, ITERATIONS, REPEATS = 12, 10, 5
PICTURES = {"streets": "drawn street", "camvid": "CamVid, test"}


def measure_picture(name: str, size: tuple[int, int], data_root: str | None = None) -> dict[str, Any]:
    """Times the dense CRF and its authors' code in turn, in this process, on the first test image of a data set.

    Returns `image` (its title), `seconds` and `reference_seconds` (medians, construction included), their `ratio`,
    `memory_mb` (the increase of the process's peak memory by kseg's code; None where the system does not report it),
    `labels` (the share of pixels on which the two agree), `difference` (the mean absolute difference of the
    probabilities), `size` and `device` (the processor: neither uses the backend).
    """
    from pydensecrf import densecrf

    options = {"count": 1, "size": size} if name == "streets" else {}
    image, label = data.load(name, "test", root=data_root, **options)[0]
    height, width = label.shape
    scores = 2 * np.eye(CLASSES)[np.minimum(label, CLASSES - 1)]
    scores = scores + np.random.default_rng(0).normal(size=scores.shape)
    p = (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype("float32")

    def theirs() -> np.ndarray:
        field = densecrf.DenseCRF2D(width, height, CLASSES)
        field.setUnaryEnergy(np.ascontiguousarray(-np.log(p.reshape(-1, CLASSES).T)))
        field.addPairwiseGaussian(sxy=3, compat=3)
        field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(image), compat=4)
        return np.array(field.inference(ITERATIONS)).T.reshape(p.shape)

    def ours() -> np.ndarray:
        return dense_crf(image, p, iterations=ITERATIONS)

    before = process_peak()
    found = ours()
    memory = memory_raised(before)
    reference = theirs()
    mine, other = machine.median_seconds(ours, theirs, repeats=REPEATS)
    return {
        "image": PICTURES[name],
        "seconds": round(mine, 3),
        "reference_seconds": round(other, 3),
        "ratio": round(mine / other, 2),
        "memory_mb": memory,
        "labels": round(float((found.argmax(-1) == reference.argmax(-1)).mean()), 4),
        "difference": round(float(np.abs(found - reference).mean()), 5),
        "size": f"{height}x{width}",
        "device": machine.processor(),
    }


def measure(
    *, data_root: Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")] = None
) -> pd.DataFrame:
    """Time the dense CRF against its authors' code; nothing is downloaded."""
    at_hand = download.find("CamVid", data_root, marker="trainannot") is not None
    names = ["streets", "camvid"] if at_hand else ["streets"]
    return pd.DataFrame([apart(measure_picture, name, (360, 480), data_root) for name in names])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
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
