"""Compare SegNet's logits on each backend with those on TensorFlow, and trace where they part: at near ties.

A pooling of SegNet passes on which of four values is the largest. Where two of them differ by less than the rounding
errors of the convolutions before, backends choose differently, and the decoder puts the value one pixel further.
"""

import pathlib
import tempfile
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks import machine
from benchmarks.process import Worker
from kseg import data, pretrained, zoo

KEY = ["backend"]
REFERENCE = "tensorflow"
OTHERS = ("jax", "torch")
LIMIT = 1e-4
"""A pixel counts if a logit differs by more than this share of the largest logit."""
LEVELS = 5


def make_weights(path: pathlib.Path, seed: int) -> None:
    """Writes a SegNet with random weights."""
    keras.utils.set_random_seed(seed)
    pretrained.save(zoo.segnet(11, encoder_weights=None), path)


def run(weights: pathlib.Path, image: np.ndarray, positions: list[np.ndarray] | None) -> list[np.ndarray]:
    """Returns the logits of an image and, for each pooling, the features before it and the positions of its maxima.

    With `positions`, the decoder uses these in place of its own.
    """
    model = zoo.load(weights)
    x, *memories = model.get_layer("encoder")(image[None].astype("float32"))
    for level in range(LEVELS, 0, -1):
        feature, argmax = memories[2 * level - 2 : 2 * level]
        x = model.get_layer(f"unpool_{level}")(x, argmax if positions is None else positions[level - 1], like=feature)
        for layer in (each for each in model.layers if each.name.startswith(f"decoder_{level}_")):
            x = layer(x)
    return [keras.ops.convert_to_numpy(each) for each in (model.get_layer("head")(x), *memories)]


def compare(first: list[np.ndarray], second: list[np.ndarray]) -> dict[str, Any]:
    """Counts the maxima that two runs choose differently, with the largest gap between the values in question."""
    choices, differing, largest, example = 0, 0, 0.0, ""
    for level in range(LEVELS):
        features, one, other = first[1 + 2 * level][0], first[2 + 2 * level][0], second[2 + 2 * level][0]
        choices += one.size
        places = np.argwhere(one != other)
        differing += len(places)
        for row, column, channel in places:
            values = [
                features[2 * row + position // 2, 2 * column + position % 2, channel]
                for position in (one[row, column, channel], other[row, column, channel])
            ]
            gap = float(values[0] - values[1])
            if gap >= largest:
                largest = gap
                place = f"pool{level + 1}, row {row}, column {column}, channel {channel}"
                example = f"{place}: {values[0]!s} and {values[1]!s}"
    return {"choices": choices, "differing": differing, "largest_gap": largest, "example": example}


def beyond(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Returns the share of pixels of which a logit differs by more than `LIMIT` of the largest."""
    difference = np.abs(first[0] - second[0]).max(-1)
    return float((difference > LIMIT * np.abs(first[0]).max()).mean())


def measure(
    *,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    seed: Annotated[int, typer.Option(help="Seed of the weights.")] = 0,
) -> pd.DataFrame:
    """Compare SegNet's logits on JAX and PyTorch with those on TensorFlow, and trace why they differ."""
    image = data.streets("test", count=1, size=size)[0][0]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder, "segnet.safetensors")
        with Worker(KERAS_BACKEND=REFERENCE) as worker:
            worker(make_weights, weights, seed)
            expected = worker(run, weights, image, None)
        for backend in OTHERS:
            with Worker(KERAS_BACKEND=backend) as worker:
                found = worker(run, weights, image, None)
                same = worker(run, weights, image, expected[2::2])
            apart = {"pixels_beyond": beyond(expected, found), "with_same_choices": beyond(expected, same)}
            rows.append({"backend": backend, **apart, **compare(expected, found)})
    return pd.DataFrame(rows).assign(size="x".join(map(str, size)), processor=machine.processor_model())


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure`."""
    table = pd.DataFrame(
        {
            "backend": rows["backend"],
            f"pixels beyond {LIMIT:g}": [f"{value:.2%}" for value in rows["pixels_beyond"]],
            "maxima chosen differently": [
                f"{few:,} of {all_:,}" for few, all_ in zip(rows["differing"], rows["choices"], strict=True)
            ],
            "largest gap between the two values": [f"{value:.1g}" for value in rows["largest_gap"]],
            "pixels beyond, with TensorFlow's maxima": [f"{value:.2%}" for value in rows["with_same_choices"]],
            "image": rows["size"],
        }
    )
    table.attrs["notes"] = [f"Widest gap on {row.backend}: {row.example}." for row in rows.itertuples()]
    return table
