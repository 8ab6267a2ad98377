"""What the writers share: the name of the file, the network, and the comparison of what was written with the model."""

import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kseg.inference import check_model
from kseg.inference.network import ENDINGS, Ending, Network
from kseg.metrics import gives_logits

LABELS = 0.999
"""Smallest share of pixels at which labels must be equal."""
TOLERANCE = 1e-3
"""Largest difference of scores, as a share of the largest score."""


def with_suffix(path: str | os.PathLike, suffix: str) -> pathlib.Path:
    """Returns the path; raises a ValueError if its suffix is another one."""
    path = pathlib.Path(path)
    if path.suffix != suffix:
        raise ValueError(f"the name of the file must end in {suffix}, got {path}: use {path.with_suffix(suffix)}")
    return path


def network_of(model: keras.Model, output: str) -> keras.Model:
    """Returns a model for inference with an output of `kseg.inference.network.ENDINGS`."""
    check_model(model)
    if output not in ENDINGS:
        raise ValueError(f"output must be one of {', '.join(ENDINGS)}, got {output!r}")
    return Network.of(model).net(output, from_logits=gives_logits(model))


def check_agreement(
    run: Callable[[np.ndarray], np.ndarray],
    model: keras.Model,
    output: str,
    size: tuple[int, int] | None,
    runtime: str,
) -> None:
    """Raises a RuntimeError if what was written gives another output than the Keras model on an image of noise."""
    *own, channels = model.inputs[0].shape[1:]
    height, width = size or (side or default for side, default in zip(own, (65, 96), strict=True))
    images = np.random.default_rng(0).uniform(0, 255, (1, height, width, channels)).astype("float32")
    last = Ending(output, gives_logits(model), autocast=False)
    expected = ops.convert_to_numpy(last(model.predict_on_batch(images)))
    found = run(images)
    if found.shape != expected.shape:
        raise RuntimeError(
            f"{runtime} gives {output} of the shape {found.shape} for {model.name}, not {expected.shape}"
        )
    if output == "labels":
        share = np.mean(found == expected)
        if share < LABELS:
            raise RuntimeError(f"{runtime} gives only {share:.2%} of the labels of {model.name}")
    else:
        difference = np.abs(found - expected).max() / max(1e-6, np.abs(expected).max())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"{runtime} gives other {output} than {model.name}: they differ by {difference:.2%}")
