"""The check that a Keras model maps one image to one score per class and pixel."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def check_model(model: Any) -> None:
    """Raises an error with the cure if a model does not map one image to one score per class and pixel."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"a model must be a keras.Model, got {model!r}: kseg.zoo.load reads weight files")
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise ValueError(
            f"{model.name} is a subclassed or unbuilt model, its input and output are unknown: wrap it, "
            "x = keras.Input((None, None, 3)); model = keras.Model(x, model(x))"
        )
    if len(inputs) > 1:
        raise ValueError(
            f"{model.name} has {len(inputs)} inputs: give it one image that is split inside, e.g. {_split(inputs)}"
        )
    if len(outputs) > 1:
        raise ValueError(
            f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale, or keep one, "
            "keras.Model(model.inputs, model.outputs[0])"
        )
    if _is_channels_first(shape := inputs[0].shape, outputs[0].shape):
        raise ValueError(
            f"{model.name} takes channels-first images {shape}, kseg (N, H, W, C): wrap it, "
            f"x = keras.Input({(*shape[2:], shape[1])}); y = model(keras.ops.transpose(x, (0, 3, 1, 2))); "
            "model = keras.Model(x, keras.ops.transpose(y, (0, 2, 3, 1)))"
        )
    if len(inputs[0].shape) != 4 or len(outputs[0].shape) != 4 or None in (inputs[0].shape[-1], outputs[0].shape[-1]):
        raise ValueError(
            f"{model.name} maps {inputs[0].shape} to {outputs[0].shape}: "
            "a segmentation model maps images (N, H, W, C) to scores (N, H, W, num_classes)"
        )
    if not keras.backend.is_float_dtype(outputs[0].dtype):
        raise ValueError(
            f"{model.name} returns {outputs[0].dtype}, class ids instead of scores: leave out its argmax, "
            "keras.Model(model.inputs, SCORES) with the tensor that it takes"
        )


def _split(inputs: Sequence[Any]) -> str:
    """Returns the code that makes a model of several inputs one of a single image."""
    channels = [each.shape[-1] or 1 if len(each.shape) == 4 else 1 for each in inputs]
    ends = np.cumsum([0, *channels]).tolist()
    parts = ", ".join(f"x[..., {start}:{stop}]" for start, stop in itertools.pairwise(ends))
    return f"x = keras.Input((None, None, {ends[-1]})); model = keras.Model(x, model([{parts}]))"


def _is_channels_first(image: Sequence[int | None], scores: Sequence[int | None]) -> bool:
    """Returns whether these shapes of an image and of its scores are (N, C, H, W) and (N, num_classes, H, W)."""
    if len(image) != 4 or len(scores) != 4 or image[1] is None:
        return False
    if image[1] <= 4 and (image[3] or 32) >= 32:
        return True
    smaller = image[1] < min(side or 32 for side in image[2:])
    return smaller and tuple(image[2:]) == tuple(scores[2:]) and (image[1] <= 16 or image[1] != scores[1])
