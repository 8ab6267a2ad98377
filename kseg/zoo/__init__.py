"""The builders, one paper a file: functions that return a plain functional `keras.Model`.

(The folder `zoo/` at the top of the repository is another thing: it records how each released weight was trained.)
"""

import difflib
import os
from collections.abc import Callable

import keras

from kseg import pretrained
from kseg.zoo.deeplab import deeplabv3
from kseg.zoo.fcn import fcn8, fcn16, fcn32
from kseg.zoo.unet import unet

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "fcn32": fcn32,
    "fcn16": fcn16,
    "fcn8": fcn8,
    "unet": unet,
    "deeplabv3": deeplabv3,
}

__all__ = ["BUILDERS", "build", "load", *BUILDERS]


def build(builder: str, num_classes: int | None = None, **arguments: object) -> keras.Model:
    """Builds a model by its builder's name.

    Args:
        builder: A key of `BUILDERS`.
        num_classes: As in the builder.
        **arguments: The builder's own keyword arguments; a misspelt one raises TypeError.

    Returns:
        The model.

    Raises:
        ValueError: There is no such builder; near matches are named.
    """
    if builder not in BUILDERS:
        near = difflib.get_close_matches(builder, BUILDERS, n=3, cutoff=0.4) or list(BUILDERS)
        raise ValueError(f"unknown builder {builder!r}: did you mean {' or '.join(near)}?")
    return BUILDERS[builder](num_classes, **arguments)


def load(file: str | os.PathLike) -> keras.Model:
    """Rebuilds a model from its weight file alone.

    Args:
        file: A `.safetensors` file that kseg wrote (`best.safetensors` of a run folder, say).

    Returns:
        The model, with the attributes `classes` (names in the order of their ids) and `palette` (R, G, B of each).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or does not say which model it belongs to.
    """
    description = pretrained.describe(file)
    model = build(description["builder"], weights=file, **description["arguments"])
    model.classes = tuple(description["classes"])
    model.palette = tuple(tuple(colour) for colour in description["palette"])
    return model
