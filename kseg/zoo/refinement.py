"""The option `crf` of every builder: a conditional random field behind the net."""

import keras

from kseg.layers import ConvCRF, CropLike


def refined(model: keras.Model, crf: bool, *, unpadded: bool = False) -> keras.Model:
    """Puts a `ConvCRF` behind a model; its layer is named `crf`.

    Args:
        model: From images to logits or probabilities, or to a dictionary whose `"logits"` are refined.
        crf: Whether to.
        unpadded: Whether the net answers for the image's middle alone.

    Returns:
        A model of the same name and outputs, or the model itself.

    Example:
        >>> image = keras.Input((8, 9, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
        >>> refined(model, True).layers[-1].name
        'crf'
    """
    if not crf:
        return model
    outputs = model.output if isinstance(model.output, dict) else {"logits": model.output}
    scores = outputs["logits"]
    image = model.input
    if unpadded:
        image = CropLike(name="crf_image")(image, scores)
    head = next(layer for layer in model.layers if layer.output is scores)
    activation = getattr(head, "activation", None)
    activation = None if activation is None else keras.activations.serialize(keras.activations.get(activation))
    activation = None if activation == "linear" else activation
    found = ConvCRF(from_logits=activation is None, activation=activation, name="crf")(scores, image)
    outputs = outputs | {"logits": found} if isinstance(model.output, dict) else found
    return keras.Model(model.input, outputs, name=model.name)
