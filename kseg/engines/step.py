"""The number that must divide the height and the width of a model's images, for models of one's own that need one."""

from collections.abc import Sequence
from typing import Any

import keras

from kseg.layers import layer_calls

STEPS = (1, 2, 4, 6, 8, 12, 14, 16, 24, 28, 32, 48, 56, 64, 96, 128)
"""The numbers that are tried: what poolings of 2 and 3, and patches of 7, 14 or 16, need."""
SIDES = (509, 521)
"""About the height and the width that are tried: large enough for convolutions that cut off borders."""


def step_of(model: keras.Model) -> int:
    """Returns the number that must divide the height and the width of images for a model of any size.

    The layers are asked for the shapes of their outputs. Most compute nothing for that.

    Returns:
        The smallest of `STEPS` with which the scores have the size of the image; 1 if there is none, or if the size of
        the model is fixed.
    """
    if None not in model.inputs[0].shape[1:3]:
        return 1
    # Odd multiples, so that a larger step is not met by chance.
    return next((step for step in STEPS if _fits(model, [step * (side // step | 1) for side in SIDES])), 1)


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
    """Returns the symbolic outputs of a functional or sequential model; raises an error if they cannot be computed.

    Keras's `compute_output_spec` does not compare the sizes of what `Concatenate` takes.
    """
    if isinstance(model, keras.Sequential):  # whose graph is inside
        model = keras.Model(model.inputs, model.outputs)
    known = {id(own): given for own, given in zip(model.inputs, inputs, strict=True)}
    for layer, node in layer_calls(model):
        taken = [known[id(tensor)] for tensor in node.input_tensors]
        if (
            isinstance(layer, keras.layers.Concatenate)
            and len({_without(each.shape, layer.axis) for each in taken}) > 1
        ):
            raise ValueError("the sizes differ")
        if isinstance(layer, keras.Sequential) or hasattr(layer, "operations"):
            found = _outputs(layer, taken)
        else:
            arguments, options = node.arguments.fill_in(known)
            found = layer.compute_output_spec(*arguments, **options)
        known |= {id(own): each for own, each in zip(node.output_tensors, keras.tree.flatten(found), strict=True)}
    return [known[id(each)] for each in model.outputs]


def _without(shape: Sequence[int | None], axis: int) -> tuple[int | None, ...]:
    """Returns a shape without one of its axes."""
    sides = list(shape)
    del sides[axis]
    return tuple(sides)
