"""Whether a model ends in logits or in probabilities."""

import keras


def gives_logits(model: keras.Model) -> bool:
    """Tells by what a model ends in.

    Args:
        model: With one output. Its last step may be a layer with an activation, a `Softmax` layer, `keras.ops.softmax`
            or `sigmoid`, or a model.

    Returns:
        False after a softmax or a sigmoid, else True: what resizes probabilities, say, cannot be seen through.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> scores = keras.layers.Conv2D(1, 1)(image)
        >>> gives_logits(keras.Model(image, scores)), gives_logits(keras.Model(image, keras.ops.sigmoid(scores)))
        (True, False)
    """
    last = getattr(model, "operations", model.layers)[-1]  # a Sequential has layers alone
    if isinstance(last, keras.Model):
        return gives_logits(last)
    activation = getattr(last, "activation", None)
    names = {type(last).__name__.lower(), getattr(keras.activations.get(activation), "__name__", "")}
    return not names & {"softmax", "sigmoid"}
