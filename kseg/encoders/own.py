"""Encoders that users bring, as models named `encoder`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras


def wrapped(encoder: Any, shape: tuple) -> tuple[keras.Model, list[int], dict[int, str]]:
    """Wraps the user's encoder as a model named `encoder`, with its strides and the `layers` of `Features`."""
    if isinstance(encoder, type) or not callable(encoder):
        given = f"the class {encoder.__name__}: pass an instance" if isinstance(encoder, type) else repr(encoder)
        raise TypeError(f"encoder must be a name in kseg.encoders.ENCODERS, a keras.Model or a function, got {given}")
    image = keras.Input(shape, name="image")
    layers: dict[int, str] = {}
    if pyramid := getattr(encoder, "pyramid_outputs", None):
        encoder = keras.Model(encoder.input, list(pyramid.values()), name=encoder.name)
    features = encoder(image)
    if isinstance(encoder, keras.Model):
        if not getattr(encoder, "outputs", None):
            raise ValueError(
                f"{encoder.name} is a subclassed model, its input and output are unknown: wrap it, "
                "x = keras.Input((None, None, 3)); encoder = keras.Model(x, encoder(x))"
            )
        strides = _strides(encoder, keras.tree.flatten(encoder.outputs))
        if len(set(strides)) < len(strides):
            raise ValueError(
                f"features of your encoder share a stride: {strides}; give the finest of each, or images of any size"
            )
        if len(strides) == 1:
            layers = _layers(encoder)
        features = dict(zip(strides, keras.tree.flatten(features), strict=True))
    elif not isinstance(features, Mapping) or not all(isinstance(stride, int) for stride in features):
        raise ValueError(f"an encoder function must return {{stride: feature}} with integer strides, got {features!r}")
    strides = sorted(features)
    return keras.Model(image, [features[stride] for stride in strides], name="encoder"), strides, layers


def _strides(model: keras.Model, tensors: Sequence[keras.KerasTensor]) -> list[int]:
    """The strides of tensors of a model, rounded to powers of two."""
    _, height, width, channels = model.inputs[0].shape
    if None in (height, width):  # the size of the actual image may be small and odd
        height, tensors = 256, keras.Model(model.inputs[0], [*tensors])(keras.Input((256, 256, channels)))
    return [2 ** round(math.log2(height / tensor.shape[1])) for tensor in tensors]


def _layers(model: keras.Model) -> dict[int, str]:
    """The last layer at each stride above 1; only layers whose output belongs to the graph of the model."""
    inside, waiting = {id(tensor) for tensor in model.inputs}, [*model.outputs]
    while waiting:
        tensor: Any = waiting.pop()
        if id(tensor) not in inside:
            inside.add(id(tensor))
            operation, node, _ = tensor._keras_history
            waiting += operation._inbound_nodes[node].input_tensors
    layers = [
        layer
        for layer in model.layers
        if id(layer.output) in inside
        and len(layer.output.shape) == 4
        and not isinstance(layer, keras.layers.ZeroPadding2D | keras.layers.InputLayer)
    ]
    strides = _strides(model, [layer.output for layer in layers]) if layers else []
    last = dict(zip(strides, (layer.name for layer in layers), strict=True))
    return {stride: last[stride] for stride in sorted(last) if stride > 1}


def outputs_line(layers: Mapping[int, str]) -> str:
    """The line that gives a model with one output the outputs of these layers."""
    return (
        f": pass encoder=keras.Model(m.inputs[0], [m.get_layer(name).output for name in {tuple(layers.values())}]), "
        "where m is your model, which must normalize images from 0 to 255"
    )
