"""Measures models: multiply-adds and receptive field."""

import math
from collections.abc import Callable
from typing import Any

import keras

from kseg.layers import Reach, layer_calls


def multiply_adds(model: keras.Model, size: tuple[int, int]) -> int:
    """Counts the multiplications of convolutions, dense layers and attention for one image; nothing is computed.

    Normalization, activations and resizing are not counted, as is usual. Convolutions after a resizing count in full,
    although `kseg.layers.Conv2D.doubled` computes them with fewer multiplications.

    Args:
        model: A model with one image as input.
        size: Height and width of the image.

    Returns:
        The number of multiplications.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> multiply_adds(keras.Model(image, keras.layers.Conv2D(8, 3, padding="same")(image)), (10, 20))
        43200
    """
    total = 0

    def recorded(kernels: list[Any], call: Callable[..., Any], enlarged: bool) -> Callable[..., Any]:
        def record(x: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal total
            y = call(x, *args, **kwargs)
            # Once per output pixel; a transposed convolution, whose input is the smaller map, once per input pixel.
            pixels = min(math.prod(each.shape[1:-1]) for each in ((y,) if enlarged else (x, y)))
            total += pixels * sum(math.prod(kernel.shape) for kernel in kernels)
            return y

        return record

    def multiplied(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(x: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal total
            total += layer.products([tuple(each.shape) for each in x] if isinstance(x, list) else tuple(x.shape))
            return call(x, *args, **kwargs)

        return record

    counted = []
    for layer in layers_of(model):
        if hasattr(layer, "products"):  # multiplies features by each other, or by a kernel of another layer
            counted.append((layer, "call"))
            layer.__dict__["call"] = multiplied(layer, layer.call)
        own = [value for value in vars(layer).values() if isinstance(value, keras.Variable)]
        if kernels := [variable for variable in own if variable.name.endswith("kernel")]:
            for name in ("call", "doubled"):
                if hasattr(layer, name):
                    counted.append((layer, name))
                    layer.__dict__[name] = recorded(kernels, getattr(layer, name), enlarged=name == "doubled")
    try:
        _Trace(model)(keras.KerasTensor((1, *size, model.input_shape[-1])))
    finally:
        for layer, name in counted:
            layer.__dict__.pop(name)
    return total


class _Trace(keras.layers.Layer):
    """Runs the whole model symbolically; a functional model only computes the output shapes of its layers."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def call(self, image: Any) -> Any:
        return self.model(image)


def layers_of(layer: Any) -> list[Any]:
    """The layer and everything inside it."""
    inner = getattr(layer, "layers", None) or [
        part
        for value in vars(layer).values()
        for part in (value if isinstance(value, list | tuple) else [value])
        if isinstance(part, keras.layers.Layer)
    ]
    return list(
        {id(part): part for part in [layer, *(deeper for part in inner for deeper in layers_of(part))]}.values()
    )


def receptive_field(model: keras.Model) -> float:
    """Computes how many pixels of the image, along a side, a logit may depend on.

    Follows the graph of the model. Each layer of kseg computes its own reach (`kseg.layers.Reach`); of Keras's layers
    convolutions, poolings and `UpSampling2D` are known. All other layers count as pointwise. In decoders the result is
    an upper bound, because a fine pixel does not depend on all of the coarse pixels near it.

    Args:
        model: A functional model with one image as input.

    Returns:
        Number of pixels; `math.inf` if a mean of the whole image takes part (image pooling, squeeze-and-excitation,
        group normalization).

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(8, 3, strides=2)(image)
        >>> receptive_field(keras.Model(image, keras.layers.Conv2D(8, 3, dilation_rate=2)(x)))
        11
    """
    pixels = max(reach.pixels for reach in reach_of_outputs(model, Reach(1, 1)))
    return pixels if math.isinf(pixels) else math.ceil(pixels)


def reach_of_outputs(model: keras.Model, *images: Reach) -> list[Reach]:
    """The reach of each output of a model, given those of its inputs; one may stand for all."""
    if isinstance(model, keras.Sequential):
        (image,) = images
        for layer in model.layers:
            image = _reach(layer, [image], {})[0]
        return [image]
    inputs = images if len(images) > 1 else images * len(model.inputs)
    known = {id(tensor): image for tensor, image in zip(model.inputs, inputs, strict=True)}
    for operation, node in layer_calls(model):
        args = [known[id(t)] for t in keras.tree.flatten(node.arguments.args) if id(t) in known]
        options = {key: known[id(t)] for key, t in node.arguments.kwargs.items() if id(t) in known}
        outputs = _reach(operation, args, options)
        if len(outputs) == 1:
            outputs = outputs * len(node.output_tensors)
        known |= {id(tensor): reach for tensor, reach in zip(node.output_tensors, outputs, strict=True)}
    return [known[id(tensor)] for tensor in keras.tree.flatten(model.outputs)]


def _reach(layer: Any, args: list[Reach], options: dict[str, Reach]) -> list[Reach]:
    """The reach of the outputs of a layer, given those of the tensors that it is called with."""
    if isinstance(layer, keras.Model):
        return reach_of_outputs(layer, *args)
    if hasattr(layer, "reach"):
        return [layer.reach(*args, **options)]
    return [_reach_of_keras(layer, [*args, *options.values()])]


def _reach_of_keras(layer: Any, inputs: list[Reach]) -> Reach:
    """The reach of the output of a layer of Keras."""
    layers, first = keras.layers, inputs[0]
    kernel, rate, stride = (_side(getattr(layer, name, 1)) for name in ("kernel_size", "dilation_rate", "strides"))
    if isinstance(layer, layers.Conv2DTranspose):
        return first.transposed(kernel, stride)
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D):
        return first.window(kernel, rate=rate, stride=stride)
    if isinstance(layer, layers.MaxPooling2D | layers.AveragePooling2D):
        return first.window(_side(layer.pool_size), stride=stride)
    if isinstance(layer, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D | layers.GroupNormalization):
        return Reach(math.inf, first.step)
    if isinstance(layer, layers.UpSampling2D):
        mixed = first.step if layer.interpolation != "nearest" else 0
        return Reach(first.pixels + mixed, first.step / _side(layer.size))
    return Reach(max(each.pixels for each in inputs), max(each.step for each in inputs))


def _side(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) else value
