"""`with_crf`: a model with a trainable CRF behind it."""

from typing import Any, cast

import keras

from kseg import pretrained
from kseg.layers import ConvCRF, CropLike, UnpaddedSize


def with_crf(model: keras.Model) -> pretrained.SegmentationModel:
    """Appends a `ConvCRF`, trained with the model, which sharpens the prediction along color edges.

    Weight files store that the model has one: `kseg.zoo.load` rebuilds it.

    Args:
        model: A model from images to logits or probabilities, or to a dictionary, whose `"logits"` are refined. Softmax
            and sigmoid are found behind resizing, cropping and averaging too, and applied to the refined scores again.

    Returns:
        A model of the same name with the same layers, and with the layer `crf`. The outputs keep their structure.

    Raises:
        ValueError: If the model has a CRF already, if it is not clear which output to refine, or if that is neither
            logits nor probabilities.

    Example:
        >>> image = keras.Input((8, 9, 3))
        >>> with_crf(keras.Model(image, keras.layers.Conv2D(4, 1)(image))).layers[-1].name
        'crf'
    """
    name, description = model.name, pretrained.description_of(model)
    if not getattr(model, "outputs", None):
        raise ValueError(f"{name!r} is a subclassed model or not built: {BY_HAND}")
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=name)
    if any(isinstance(layer, ConvCRF) for layer in model.layers):
        raise ValueError(f"{name!r} has a CRF already")
    outputs = {"logits": model.outputs[0]} if len(model.outputs) == 1 else model.output
    if len(model.inputs) > 1 or not isinstance(outputs, dict) or "logits" not in outputs:
        raise ValueError(f'{name!r} must have one input, and one output or a dictionary with "logits": {BY_HAND}')
    scores, image = outputs["logits"], model.inputs[0]
    if len(scores.shape) != 4:
        raise ValueError(f"{name!r} must output (N, H, W, num_classes), not {tuple(scores.shape)}")
    activation = _activation(scores, name)
    if any(isinstance(layer, UnpaddedSize) for layer in model.layers):  # scores for the middle of the image only
        image = CropLike(name="crf_image")(image, scores)
    refined = ConvCRF(from_logits=activation is None, activation=activation, name="crf")(scores, image)
    outputs = keras.tree.map_structure(lambda output: refined if output is scores else output, model.output)
    description["arguments"]["crf"] = True
    return pretrained.SegmentationModel.of(keras.Model(model.input, outputs, name=name), **description)


BY_HAND = "append kseg.layers.ConvCRF(from_logits=...)(scores, image) yourself"
PROBABILITIES_STAY = {
    *("activation", "average", "cast", "cropimages", "cropping2d", "croplike", "dropout", "getitem", "identity"),
    *("maximum", "resize", "resizing", "upsampling2d"),
}
"""Operations, in lower case, after which probabilities are still probabilities."""
ACTIVATIONS = {name.replace("_", ""): name for name in dir(keras.activations) if not name.startswith("_")}


def _activation(scores: keras.KerasTensor, model: str) -> str | None:
    """Returns the activation of scores: None, "softmax" or "sigmoid"; looks behind operations without weights."""
    passed: list[str] = []
    while True:
        operation, node, index = cast(Any, scores)._keras_history
        if isinstance(operation, keras.Model):
            if not getattr(operation, "outputs", None):
                raise ValueError(f"{model!r} ends in {operation.name!r}, a subclassed model: {BY_HAND}")
            scores = operation.outputs[index]
            continue
        kind = type(operation).__name__.lower()
        given = keras.activations.get(getattr(operation, "activation", None))
        found = getattr(given, "__name__", kind) if given not in (None, keras.activations.linear) else kind
        found = ACTIVATIONS.get(found.replace("_", ""), "")
        if found in ("softmax", "sigmoid") and not passed:
            return found
        if found in ("softmax", "sigmoid") or (found not in ("", "linear", "log_softmax") and not passed):
            raise ValueError(f"{model!r} ends in {', '.join([found, *passed])}, not logits or probabilities: {BY_HAND}")
        before = operation._inbound_nodes[node].input_tensors
        if found or getattr(operation, "weights", None) or not before:
            return None
        passed = passed if kind in PROBABILITIES_STAY else [kind, *passed]
        scores = before[0]
