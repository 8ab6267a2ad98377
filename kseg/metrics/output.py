"""Whether a model outputs logits or probabilities."""

from typing import Any

import keras

MOVING = (
    "Transpose", "Permute", "Reshape", "Identity", "Resizing", "Resize", "UpSampling2D", "Cropping2D", "CropLike",
)  # fmt: skip
"""Layers and operations that keep values between 0 and 1 there, and their sum."""


def gives_logits(model: keras.Model) -> bool:
    """Determines from the last step of a model whether it outputs logits.

    Args:
        model: Model with one output. Its last step may be a layer with an activation, a `Softmax` layer,
            `keras.ops.softmax` or `keras.ops.sigmoid`, or a model. Layers after it that only move, resize or crop its
            values are passed over.

    Returns:
        False after softmax or sigmoid, otherwise True. Probabilities that are processed further by other layers are not
        recognized.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> scores = keras.layers.Conv2D(1, 1)(image)
        >>> gives_logits(keras.Model(image, scores)), gives_logits(keras.Model(image, keras.ops.sigmoid(scores)))
        (True, False)
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:  # of a subclassed model, only the layers are known
        return not model.layers or _gives_logits(model.layers[-1])
    operation, index, _ = outputs[0]._keras_history
    while type(operation).__name__ in MOVING or _is_linear(operation):
        operation, index, _ = operation._inbound_nodes[index].input_tensors[0]._keras_history
    return _gives_logits(operation)


def _is_linear(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear


def _gives_logits(last: Any) -> bool:
    if isinstance(last, keras.Model):
        return gives_logits(last)
    activation = getattr(last, "activation", None)
    names = {type(last).__name__.lower(), getattr(keras.activations.get(activation), "__name__", "")}
    return not names & {"softmax", "sigmoid"}
