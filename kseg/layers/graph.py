"""The graph of a functional model: its calls in order, and a copy without batch normalization."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.convolution import FAST_LAYERS, ConvNormAct

NORMALIZATIONS = (keras.layers.BatchNormalization, FAST_LAYERS[keras.layers.BatchNormalization])
CONVOLUTIONS = tuple({*FAST_LAYERS, *FAST_LAYERS.values()} - {*NORMALIZATIONS})
"""Classes of which exactly (not of subclasses) it is known what they compute."""


def layer_calls(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Yields each layer or operation of a functional model with a node, which describes one call of it, in order.

    Keras has no public attribute for the calls of a layer: `get_config` serializes the layers and counts calls of
    submodels from 1 in some places. Calls that belong to other models, which may share its input, are left out.
    """
    known, needed, behind = {id(tensor) for tensor in model.inputs}, set(), [*model.outputs]
    while behind:
        tensor: Any = behind.pop()
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if id(tensor) not in known and id(node) not in needed:
            needed.add(id(node))
            behind += node.input_tensors
    nodes = [(operation, node) for operation in model.operations for node in operation._inbound_nodes]
    waiting = [(operation, node) for operation, node in nodes if id(node) in needed]
    while ready := [(o, n) for o, n in waiting if n.input_tensors and all(id(t) in known for t in n.input_tensors)]:
        for operation, node in ready:
            known |= {id(tensor) for tensor in node.output_tensors}
            waiting.remove((operation, node))
            yield operation, node


class FoldedModel:
    """A copy of a functional model without the batch normalization that follows a convolution, for faster inference.

    In inference, batch normalization multiplies each channel by a constant and adds another one. The first is folded
    into the kernel of the convolution, the second into its bias; results differ only by rounding. Layers of other
    classes than those of Keras and kseg are shared with the model, not copied.

    Args:
        model: A functional model. Its weights are copied, and copied again by `refresh`.

    Attributes:
        net: The copy, or the model itself if there is nothing to fold.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3)(image))
        >>> [layer.__class__.__name__ for layer in FoldedModel(keras.Model(image, x)).net.layers]
        ['InputLayer', 'Conv2D']
    """

    def __init__(self, model: keras.Model):
        self.norms = {id(conv): norm for conv, norm in _pairs(model)}
        dropped = {id(norm) for norm in self.norms.values()}
        self.copies: list[tuple[Any, Any, list[tuple[ConvNormAct, ConvNormAct]]]] = []
        skipped = []
        self.net = model
        if not dropped and not any(map(_blocks, model.layers)):
            return

        def copy(layer: Any) -> Any:
            if type(layer).__module__.partition(".")[0] not in ("keras", "kseg"):
                return layer
            config = layer.get_config()
            if id(layer) in self.norms:
                config["use_bias"] = True
            new = FAST_LAYERS.get(type(layer), type(layer)).from_config(config)
            blocks = list(zip(_blocks(layer), _blocks(new), strict=True))
            for _, block in blocks:
                block.drop_normalization()
            if id(layer) in dropped:
                skipped.append(new)
            elif isinstance(layer, keras.layers.Layer):
                self.copies.append((layer, new, blocks))
            return new

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return args[0] if any(layer is each for each in skipped) else layer(*args, **kwargs)

        self.net = keras.models.clone_model(model, clone_function=copy, call_function=call, recursive=True)
        self.refresh()

    def refresh(self) -> None:
        """Copies the weights again, after the model was trained further."""
        for old, new, blocks in self.copies:
            if id(old) in self.norms:
                _fold(old, self.norms[id(old)], new)
            else:
                _copy_weights(old, new, blocks)


def _pairs(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Yields each convolution whose only consumer is batch normalization, with that layer; submodels included."""
    graphs = [(part, list(layer_calls(part))) for part in _functional_parts(model)]
    times = Counter(id(layer) for _, nodes in graphs for layer, _ in nodes)
    for part, nodes in graphs:
        uses = Counter(id(tensor) for _, node in nodes for tensor in node.input_tensors)
        uses.update(id(tensor) for tensor in part.outputs)
        makers = {id(node.output_tensors[0]): layer for layer, node in nodes if type(layer) in CONVOLUTIONS}
        for layer, node in nodes:
            if type(layer) not in NORMALIZATIONS or layer.axis not in (-1, 3) or layer.renorm:
                continue
            tensor = id(node.input_tensors[0])
            conv = makers.get(tensor)
            if conv is None or uses[tensor] > 1 or times[id(layer)] > 1 or times[id(conv)] > 1:
                continue
            if conv.activation in (None, keras.activations.linear) and conv.data_format == "channels_last":
                yield conv, layer


def _functional_parts(model: keras.Model) -> list[keras.Model]:
    """Lists a model and its functional submodels at every depth, once each; those of other kinds are not copied."""
    found = [model]
    for part in found:  # grows in the loop
        inner = [x for x in part.layers if isinstance(x, keras.Sequential) or hasattr(x, "operations")]
        found += [x for x in inner if not any(x is other for other in found)]
    return [part for part in found if not isinstance(part, keras.Sequential)]


def _blocks(layer: Any) -> list[ConvNormAct]:
    """Convolutions with normalization inside a layer of kseg; Keras has no public attribute for sublayers."""
    inner = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else []
    return [part for part in inner if isinstance(part, ConvNormAct) and part.normalization]


def _fold(conv: Any, norm: Any, new: Any) -> None:
    weights = {name: ops.convert_to_numpy(getattr(norm, f"moving_{name}")) for name in ("mean", "variance")}
    scale = (ops.convert_to_numpy(norm.gamma) if norm.scale else 1.0) / np.sqrt(weights["variance"] + norm.epsilon)
    kernel = ops.convert_to_numpy(conv.kernel)
    depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
    new.kernel.assign(kernel * scale.reshape(kernel.shape[2:] if depthwise else -1))
    bias = ops.convert_to_numpy(conv.bias) if conv.use_bias else 0.0
    offset = ops.convert_to_numpy(norm.beta) if norm.center else 0.0
    new.bias.assign((bias - weights["mean"]) * scale + offset)


def _copy_weights(old: Any, new: Any, blocks: list[tuple[ConvNormAct, ConvNormAct]]) -> None:
    """Copies the weights of a layer; those of its blocks without normalization are folded."""
    folded: set[int] = set()
    for before, after in blocks:
        _fold(before.conv, before.norm, after.conv)
        folded |= {id(weight) for layer in (before.conv, before.norm, after.conv) for weight in layer.weights}
    sources, targets = ([w for w in layer.weights if id(w) not in folded] for layer in (old, new))
    for source, target in zip(sources, targets, strict=True):
        target.assign(ops.convert_to_numpy(source))
