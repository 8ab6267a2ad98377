"""Compare FCN's logits with those of its authors' nets for Caffe, computed with PyTorch with the same random weights.

The authors' nets pad the image by 100 pixels before the first convolution, later ones hardly at all, and crop the
scores. kseg pads every convolution. The cells of the features then begin at other pixels, and features differ as far
from the border as the network reaches. Pixels of the mean color around the image undo both.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks import machine
from kseg import data, zoo

KEY = ["net", "size", "before", "after"]
NETS: dict[str, tuple[str, dict[str, Any], dict[int, float]]] = {
    "fcn32": ("fcn32", {}, {}),
    "fcn16": ("fcn16", {}, {16: 1.0}),
    "fcn8": ("fcn8", {}, {16: 1.0, 8: 1.0}),
    "fcn8, at once": ("fcn8", {"at_once": True}, {16: 0.01, 8: 0.0001}),
}
"""The builder, its options and the factors on the skips, by title."""
MARGINS = {(0, 0): "none", (3, 0): "3 pixels above and to the left", (99, 99): "99 pixels on each side"}
"""Pixels of the mean color that the image for kseg gets above and to the left, and below and to the right."""
LIMIT = 1e-5
"""Logits are equal if they differ by at most this share of the largest logit."""
INSIDE = 256
"""Pixels at least so far from the border are inside: no padding of the image reaches them."""


def build(net: str, encoder_weights: str, seed: int) -> keras.Model:
    """Builds a network with random weights, also in the score layers, which otherwise start at zero."""
    keras.utils.set_random_seed(seed)
    builder, options, _ = NETS[net]
    model = zoo.build(builder, 21, encoder="vgg16", encoder_weights=encoder_weights, **options)
    random = np.random.default_rng(seed)
    fusions = [layer.score for layer in model.layers if layer.name.startswith("fuse_")]
    for kernel, _ in (layer.weights for layer in (model.get_layer("score_32").conv, *fusions)):
        kernel.assign(random.normal(0, kernel.shape[2] ** -0.5, kernel.shape))
    return model


def extended(image: np.ndarray, color: np.ndarray, before: int, after: int) -> np.ndarray:
    """Adds pixels of a color above and to the left, and below and to the right."""
    height, width = image.shape[:2]
    canvas = np.tile(color.astype("float32"), (before + height + after, before + width + after, 1))
    canvas[before : before + height, before : before + width] = image
    return canvas


def compare(expected: np.ndarray, found: np.ndarray, inside: int = INSIDE) -> dict[str, float]:
    """Compares the logits `(H, W, num_classes)` of an image.

    Returns:
        The share of pixels with another label, and the largest difference of a logit as a share of the largest logit:
        of all pixels and of those at least `inside` pixels from the border. `equal_from` is the smallest distance from
        the border from which on all logits are equal, or NaN.
    """
    difference = np.abs(found - expected).max(-1) / np.abs(expected).max()
    other = found.argmax(-1) != expected.argmax(-1)
    rows, columns = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in difference.shape)
    distance = np.minimum.outer(rows, columns)
    begin = distance[difference > LIMIT].max(initial=-1) + 1
    return {
        "labels_differ": float(other.mean()),
        "labels_differ_inside": float(other[distance >= inside].mean()),
        "largest": float(difference.max()),
        "largest_inside": float(difference[distance >= inside].max()),
        "equal_from": float(begin) if begin <= distance.max() else np.nan,
    }


def measure(
    *,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (720, 960),
    encoder_weights: Annotated[str, typer.Option(help="Weights of VGG16.")] = "imagenet+bsds500",
    seed: Annotated[int, typer.Option(help="Seed of the other weights.")] = 0,
) -> Iterator[pd.DataFrame]:
    """Compare FCN's logits with those of its authors' nets for Caffe, on images with and without a margin."""
    from benchmarks.peers import fcn  # needs PyTorch

    if min(size) <= 2 * INSIDE:
        raise ValueError(f"size must be at least {2 * INSIDE + 1} {2 * INSIDE + 1}, got {size[0]} {size[1]}")
    image = data.streets("test", count=1, size=size)[0][0].astype("float32")
    for net, (_, _, scales) in NETS.items():
        model = build(net, encoder_weights, seed)
        normalization = model.get_layer("encoder").get_layer("normalization")
        normalized = keras.ops.convert_to_numpy(normalization(image[None]))
        (expected,) = fcn.logits(normalized, fcn.weights_of(model), scales)
        mean = -np.divide(normalization.offset, normalization.scale)
        rows = []
        for before, after in MARGINS:
            canvas = extended(image, mean, before, after)
            (logits,) = keras.ops.convert_to_numpy(model(canvas[None], training=False))
            found = logits[before : before + size[0], before : before + size[1]]
            rows.append({"before": before, "after": after, **compare(expected, found)})
        shared = {"net": net, "size": "x".join(map(str, size)), "encoder_weights": encoder_weights}
        backend = {"backend": keras.backend.backend(), "processor": machine.processor_model()}
        yield pd.DataFrame([shared | row | backend for row in rows])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure`."""
    return pd.DataFrame(
        {
            "net": rows["net"],
            "margin for kseg": [MARGINS[pair] for pair in zip(rows["before"], rows["after"], strict=True)],
            "other labels": [f"{value:.2%}" for value in rows["labels_differ"]],
            "other labels inside": [f"{value:.2%}" for value in rows["labels_differ_inside"]],
            "largest difference": [f"{value:.2g}" for value in rows["largest"]],
            "largest difference inside": [f"{value:.1g}" for value in rows["largest_inside"]],
            f"within {LIMIT:g}": [
                "nowhere" if pd.isna(begin) else f"{begin:.0f} pixels from the border" for begin in rows["equal_from"]
            ],
            "image": rows["size"],
        }
    )
