"""The multiples of pixels that the sides of an image must be, as for U-Nets that pool without padding."""

from collections.abc import Sequence
from typing import Any

import keras

from kseg.layers import layer_calls

STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
"""The numbers that are tried."""
SIDES = (509, 521)
"""Height and width that are tried, in steps: primes, and large enough for convolutions that cut off borders."""


def step_of(model: keras.Model) -> int:
    """Returns the number that must divide the height and the width of images for a model of any size.

    The layers are asked for the shapes of their outputs; nothing is computed.

    Returns:
        The smallest of `STEPS` with which the scores have the size of the image; 1 if there is none, or if the size of
        the model is fixed.
    """
    if None not in model.inputs[0].shape[1:3]:
        return 1
    if isinstance(model, keras.Sequential):  # whose graph is inside
        model = keras.Model(model.inputs, model.outputs)
    return next((step for step in STEPS if _fits(model, [step * side for side in SIDES])), 1)


def _fits(model: keras.Model, sides: Sequence[int]) -> bool:
    image: Any = model.inputs[0]
    height, width = (own or side for own, side in zip(image.shape[1:3], sides, strict=True))
    shape = (image.shape[0] or 1, height, width, image.shape[-1])
    try:
        scores = _outputs(model, [keras.KerasTensor(shape, dtype=image.dtype)])[0]
    except Exception:  # layers and backends have error types of their own
        return False
    return tuple(scores.shape[1:3]) == (height, width)


def _outputs(model: keras.Model, inputs: Sequence[Any]) -> list[Any]:
    """Returns the symbolic outputs of a functional model; raises an error if they cannot be computed.

    Keras's `compute_output_spec` does not compare the sizes of what `Concatenate` takes.
    """
    known = {id(own): given for own, given in zip(model.inputs, inputs, strict=True)}
    for layer, node in layer_calls(model):
        arguments, options = node.arguments.fill_in(known)
        taken = keras.tree.flatten(arguments)
        if (
            isinstance(layer, keras.layers.Concatenate)
            and len({_without(each.shape, layer.axis) for each in taken}) > 1
        ):
            raise ValueError("the sizes differ")
        is_functional = hasattr(layer, "operations") and not isinstance(layer, keras.Sequential)
        found = _outputs(layer, taken) if is_functional else layer.compute_output_spec(*arguments, **options)
        known |= {id(own): each for own, each in zip(node.output_tensors, keras.tree.flatten(found), strict=True)}
    return [known[id(each)] for each in model.outputs]


def _without(shape: Sequence[int | None], axis: int) -> tuple[int | None, ...]:
    """Returns a shape without one of its axes."""
    sides = list(shape)
    del sides[axis]
    return tuple(sides)
