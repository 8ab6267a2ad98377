"""What each builder costs and sees: parameters, multiply-adds, output stride, receptive field."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kseg import layers
from kseg.encoders import ENCODERS
from kseg.encoders.atrous import AtrousPooling2D

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
TRANSPOSED = (keras.layers.Conv2DTranspose, layers.TransposeUpsampling2D)
POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, layers.MaxPoolingWithArgmax2D)


def multiply_adds(model: keras.Model, size: tuple[int, int]) -> int:
    """Counts the multiplications of a model's convolutions and dense layers for one image; nothing is computed.

    Normalisation, activations and resizing are left out, as is usual.

    Args:
        model: A model with one image as input.
        size: Height and width of the image.

    Returns:
        The count.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> multiply_adds(keras.Model(image, keras.layers.Conv2D(8, 3, padding="same")(image)), (10, 20))
        43200
    """
    total = 0

    def recorded(layer: Any, call: Callable) -> Callable:
        def record(x: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal total
            y = call(x, *args, **kwargs)
            # A transposed convolution meets its kernel once an input pixel, any other once an output pixel.
            pixels = math.prod((x if isinstance(layer, TRANSPOSED) else y).shape[1:-1])
            separable = isinstance(layer, keras.layers.SeparableConv2D)
            kernels = [layer.depthwise_kernel, layer.pointwise_kernel] if separable else [layer.kernel]
            total += pixels * sum(math.prod(kernel.shape) for kernel in kernels)
            return y

        return record

    counted = (*CONVOLUTIONS, *TRANSPOSED, keras.layers.Dense)
    found = [layer for layer in layers_of(model) if isinstance(layer, counted)]
    for layer in found:
        layer.__dict__["call"] = recorded(layer, layer.call)
    try:
        _Trace(model)(keras.KerasTensor((1, *size, model.input_shape[-1])))
    finally:
        for layer in found:
            layer.__dict__.pop("call")
    return total


class _Trace(keras.layers.Layer):
    """Runs a model symbolically, all of it: a functional model alone only asks its layers for their shapes."""

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
    """Says how many pixels of the image, along a side, a logit may depend on.

    Walks the graph with the arithmetic of kernels, rates and strides; interpolation counts the pixels that it mixes.
    In decoders it is an upper bound: a fine pixel may lie so in its coarse one that fewer take part.
    Where a mean of the whole image takes part (image pooling, squeeze-and-excitation) the answer is infinity.
    Other layers than kseg's and Keras's convolutions, poolings and `UpSampling2D` count as pointwise.

    Args:
        model: A functional model with one image as input.

    Returns:
        Pixels, or `math.inf`.

    Reference:
        Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, 2019,
        https://distill.pub/2019/computing-receptive-fields

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(8, 3, strides=2)(image)
        >>> receptive_field(keras.Model(image, keras.layers.Conv2D(8, 3, dilation_rate=2)(x)))
        11
    """
    seen = max(pixels for pixels, _ in _walk(model, (1, 1)))
    return seen if math.isinf(seen) else math.ceil(seen)


_Seen = tuple[float, float]
"""Pixels that a feature's pixel depends on, and the distance of two neighbours of it in the image."""


def _walk(model: keras.Model, image: _Seen) -> list[_Seen]:
    known: dict[int, _Seen] = {id(model.inputs[0]): image}
    # A layer that is called several times has several nodes, and nodes of other models too, which never become ready.
    waiting = [(operation, node) for operation in model.operations for node in operation._inbound_nodes]
    while ready := [(o, n) for o, n in waiting if n.input_tensors and all(id(t) in known for t in n.input_tensors)]:
        for operation, node in ready:
            arrived = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(operation, keras.Model):
                left = _walk(operation, arrived[0])
            else:
                left = [_after(operation, arrived)] * len(node.output_tensors)
            known |= {id(tensor): seen for tensor, seen in zip(node.output_tensors, left, strict=True)}
            waiting.remove((operation, node))
    return [known[id(tensor)] for tensor in keras.tree.flatten(model.outputs)]


def _after(layer: Any, arrived: Sequence[_Seen]) -> _Seen:
    (pixels, step), *others = arrived
    if isinstance(layer, keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D | layers.ASPP):
        return math.inf, step
    if isinstance(layer, TRANSPOSED):
        kernel = _first(layer.kernel_size)
        factor = layer.factor if isinstance(layer, layers.TransposeUpsampling2D) else _first(layer.strides)
        return pixels + (math.ceil(kernel / factor) - 1) * step, step / factor
    if isinstance(layer, (*CONVOLUTIONS, layers.ConvNormAct)):
        kernel, rate, stride = (_first(getattr(layer, key)) for key in ("kernel_size", "dilation_rate", "strides"))
        return pixels + (kernel - 1) * rate * step, step * stride
    if isinstance(layer, POOLINGS):
        return pixels + (_first(layer.pool_size) - 1) * step, step * _first(getattr(layer, "strides", layer.pool_size))
    if isinstance(layer, AtrousPooling2D):
        return pixels + layer.rate * step, step
    if isinstance(layer, layers.AtrousScoreSum):
        return pixels + 2 * max(layer.rates) * step, step
    if isinstance(layer, layers.UNetBlock):
        fine = others[0][1] if others else step / 2
        return max(pixels, *(seen for seen, _ in others), 0) + 4 * fine, fine
    if isinstance(layer, layers.ScoreFusion):
        return max(pixels + step, others[0][0]), others[0][1]
    if isinstance(layer, layers.SegmentationHead):
        pixels += (layer.kernel_size - 1) * step
        return (pixels + step, others[0][1]) if others and step > 1 else (pixels, step)
    if isinstance(layer, layers.ScoreUpsampling | layers.Resize):
        fine = others[0][1] if others else step / _first(layer.factor)
        return pixels + (step if getattr(layer, "interpolation", "bilinear") == "bilinear" else 0), fine
    if isinstance(layer, layers.ConvCRF):
        # Of cells: the pixel's own, the windows, of stride > 1 two that are interpolated; norms look a window further.
        apart = 2 * layer.radius + (2 if layer.stride > 1 else 0)
        cells = layer.iterations * apart + 2 * layer.radius + (layer.stride == 1)
        return max(seen for seen, _ in arrived) + ((cells * layer.stride - 1) * step if layer.iterations else 0), step
    if isinstance(layer, keras.layers.UpSampling2D):
        factor = _first(layer.size)
        return pixels + (step if layer.interpolation != "nearest" else 0), step / factor
    if isinstance(layer, layers.NearestUnpooling2D | layers.BedOfNailsUnpooling2D):
        return pixels, step / layer.factor
    if isinstance(layer, layers.CropLike):
        return pixels, step
    if isinstance(layer, layers.MaxUnpooling2D):
        return pixels, others[-1][1]
    return max(seen for seen, _ in arrived), max(steps for _, steps in arrived)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) else value


class Summary(list):
    """Rows, one dictionary a builder; printed as a table."""

    def __str__(self) -> str:
        cells = [["builder", "encoder", "fit", "parameters", "multiply-adds", "output stride", "receptive field"]]
        for row in self:
            cost, seen = row["multiply_adds"], row["receptive_field"]
            cells.append(
                [
                    row["builder"],
                    row["encoder"],
                    str(len(row["encoders"]) or "-"),
                    f"{row['parameters'] / 1e6:.2f} M",
                    "-" if cost is None else f"{cost / 1e9:.2f} G",
                    str(row["output_stride"]),
                    "whole image" if math.isinf(seen) else f"{seen} px",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def rows(builders: Mapping[str, Callable[..., keras.Model]], *, size: tuple[int, int], num_classes: int) -> Summary:
    """Builds each model with random weights and measures it.

    Args:
        builders: Name -> builder.
        size: Height and width of the image for the multiply-adds.
        num_classes: Of every model.

    Returns:
        One dictionary a builder: `builder`, `encoder` (the default), `encoders` (those that fit), `parameters`,
        `multiply_adds` (None where the net cannot take the size), `output_stride`, `receptive_field`.
    """
    found = Summary()
    for name, builder in builders.items():
        options = inspect.signature(builder).parameters
        model = builder(num_classes, **({"encoder_weights": None} if "encoder_weights" in options else {}))
        encoder = model.get_layer("encoder")
        deepest = max(step for _, step in _walk(encoder, (1, 1)))
        try:
            cost = multiply_adds(model, size)
        except ValueError:  # unpadded convolutions take some sizes only
            cost = None
        found.append(
            {
                "builder": name,
                "encoder": options["encoder"].default if "encoder" in options else "its own",
                "encoders": list(ENCODERS) if "encoder" in options else [],
                "parameters": model.count_params(),
                "multiply_adds": cost,
                "output_stride": round(deepest),
                "receptive_field": receptive_field(model),
            }
        )
        del model, encoder
    return found
