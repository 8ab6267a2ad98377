"""Graphs of networks for the runtimes OpenVINO and ONNX Runtime, at any image size or at a fixed one."""

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.engines.runtimes import RUNTIMES, check_installed
from kseg.layers import single_operation

ANY = (None, None, None)
"""Batch size, height and width that are not known."""

OPSET = 18
"""Version of ONNX's operators."""


def is_any_size() -> bool:
    """Returns whether graphs for unknown image sizes can be made; PyTorch's exporter needs the size."""
    return keras.backend.backend() in RUNTIMES["openvino"].any_size


def openvino_graph(net: keras.Model, size: Sequence[int | None] = ANY) -> Any:
    """Converts a network to an `openvino.Model`, with the weights of this moment.

    Args:
        net: A model with one input, `(N, H, W, C)`, and one output.
        size: N, H and W; None takes what the network takes. With PyTorch as the backend, all must be known.

    Returns:
        The graph, from "image" to "output".

    Raises:
        ValueError: If a size is missing.
    """
    import openvino

    shape = known_shape(net, size)
    if None in shape and not is_any_size():
        raise ValueError(f"with PyTorch as the backend, a graph needs the size of the image, got {tuple(size)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own, about other packages
        if keras.backend.backend() == "tensorflow":
            function = tensorflow_function(net, shape).get_concrete_function()
            graph = openvino.convert_model(function)
            wanted = function.outputs[0].name
            for result in [each for each in graph.get_results() if wanted not in each.output(0).get_names()]:
                graph.remove_result(result)  # OpenVINO takes every unused tensor for an output
        else:
            graph = openvino.convert_model(torch_program(net, shape))
            graph.reshape(shape)
    graph.inputs[0].get_tensor().set_names({"image"})
    graph.outputs[0].get_tensor().set_names({"output"})
    return graph


def int8_graph(graph: Any, images: Sequence[np.ndarray]) -> Any:
    """Quantizes an `openvino.Model` to 8-bit integers; the ranges of activations are those for images `(H, W, C)`."""
    check_installed("int8", RUNTIMES["openvino"].int8_converters)
    import nncf

    nncf.set_log_level(logging.ERROR)
    dtype = graph.inputs[0].get_element_type().to_dtype()
    batches = nncf.Dataset([image[None].astype(dtype) for image in images])
    labels = nncf.IgnoredScope(types=["Maximum", "Greater", "Select"], validate=False)  # the choice among the scores
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        warnings.simplefilter("ignore")
        return nncf.quantize(
            graph, batches, subset_size=len(images), preset=nncf.QuantizationPreset.MIXED, ignored_scope=labels
        )


def onnx_graph(net: keras.Model, size: Sequence[int | None] = ANY) -> Any:
    """Converts a network to an `onnx.ModelProto`; see `openvino_graph`."""
    import onnx
    import tf2onnx

    shape = known_shape(net, size)
    # From sizes that are known, tf2onnx computes factors in float32, and ONNX rounds the new sizes down.
    function = tensorflow_function(net, (*ANY, shape[-1]))
    # With one channel, tf2onnx makes a reshape and a squeeze of a last transposition. It loses the squeeze if it has
    # removed the identity at the end before. So its graph ends in NCHW, and the last transposition is added here.
    images = [each.name for each in function.get_concrete_function().outputs if each.shape.rank == 4]
    with warnings.catch_warnings(), _separate_reshapes():
        warnings.simplefilter("ignore")  # the converter's own, about other packages
        graph, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=OPSET, outputs_as_nchw=images
        )
    for dimension, known in zip(graph.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        if known is not None:
            dimension.dim_value = known
    end, name = graph.graph.output[0], "channels_first" if images else "output"
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if each == end.name else each for each in names]
        modes = {attribute.name: attribute for attribute in node.attribute}
        mode = modes.get("coordinate_transformation_mode")
        if mode is not None and mode.s == b"tf_half_pixel_for_nn":  # deprecated; the same positions in two steps
            mode.s, modes["nearest_mode"].s = b"half_pixel", b"round_prefer_ceil"
    end.name = "output"
    if images:
        graph.graph.node.append(onnx.helper.make_node("Transpose", [name], ["output"], perm=(0, 2, 3, 1)))
        end.type.tensor_type.shape.dim.append(end.type.tensor_type.shape.dim.pop(1))
    return graph


@contextlib.contextmanager
def _separate_reshapes() -> Iterator[None]:
    """Keeps tf2onnx from making one reshape of two in a row.

    A 0 in the shape of the second one stands for a dimension of what the first one returns. Merging takes the dimension
    of the input of the first one instead, which is wrong behind a dense layer without a bias.
    """
    from tf2onnx.optimizer import back_to_back_optimizer

    rules, key = back_to_back_optimizer._func_map, ("Reshape",)
    rule = rules.pop(key, None)
    try:
        yield
    finally:
        if rule is not None:
            rules[key] = rule


def tensorflow_function(net: keras.Model, shape: Sequence[int | None] | None = None) -> Any:
    """Returns a TensorFlow function for inference, traced once; None takes the shapes of the network's inputs."""
    import tensorflow

    # Keras traces its graph anew for many image sizes and warns of it; this graph is traced once, for all sizes.
    specs = [
        tensorflow.TensorSpec(shape or each.shape, each.dtype, name=name)
        for name, each in zip(("image", "truth"), net.inputs, strict=False)
    ]
    call = functools.partial(net, training=False)
    run = call if len(specs) == 1 else lambda image, truth: call([image, truth])
    function = tensorflow.function(run, input_signature=specs, autograph=False)
    with single_operation():
        function.get_concrete_function()
    return function


def torch_program(net: keras.Model, shape: Sequence[int | None]) -> Any:
    """Exports a network on PyTorch as a `torch.export.ExportedProgram`, for images of one shape `(N, H, W, C)`."""
    import torch

    class Module(torch.nn.Module):  # whose call takes one tensor; Keras's takes structures
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: Any) -> Any:
            return self.net(image, training=False)

    example = ops.zeros(shape, dtype=net.inputs[0].dtype)
    return torch.export.export(Module().eval(), (example,), strict=False)


def known_shape(net: keras.Model, size: Sequence[int | None]) -> tuple[int | None, ...]:
    """Returns the shape of the input; None for what neither `size`, N, H and W, nor the network knows."""
    *own, channels = net.inputs[0].shape
    return (*(given if given is not None else taken for given, taken in zip(size, own, strict=True)), channels)
