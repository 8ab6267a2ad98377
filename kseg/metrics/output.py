"""Whether a model outputs logits or probabilities."""

import keras


def gives_logits(model: keras.Model) -> bool:
    """Determines from the last step of a model whether it outputs logits.

    Args:
        model: Model with one output. Its last step may be a layer with an activation, a `Softmax` layer,
            `keras.ops.softmax` or `keras.ops.sigmoid`, or a model, also with its axes transposed.

    Returns:
        False after softmax or sigmoid, otherwise True. Probabilities that are processed further, for example resized,
        are not recognized.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> scores = keras.layers.Conv2D(1, 1)(image)
        >>> gives_logits(keras.Model(image, scores)), gives_logits(keras.Model(image, keras.ops.sigmoid(scores)))
        (True, False)
    """
    last = getattr(model, "operations", model.layers)[-1]  # a Sequential has only layers
    while type(last).__name__ in ("Transpose", "Permute"):
        last = last.input._keras_history.operation
    if isinstance(last, keras.Model):
        return gives_logits(last)
    activation = getattr(last, "activation", None)
    names = {type(last).__name__.lower(), getattr(keras.activations.get(activation), "__name__", "")}
    return not names & {"softmax", "sigmoid"}
