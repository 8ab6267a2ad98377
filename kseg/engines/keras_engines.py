"""What runs a Keras network: the backend or another runtime, for which it is converted in the first call."""

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.engines.conversion import int8_graph, is_any_size, onnx_graph, openvino_graph, tensorflow_function
from kseg.engines.runtimes import onnx_session, openvino_compiled, reason
from kseg.layers import bounded, enlarged


class Run:
    """A function from images `(N, H, W, C)` to the output of a network with one input and one output."""

    def __init__(self, net: keras.Model):
        self.net = net
        self.dtype: str = net.inputs[0].dtype

    def __call__(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class KerasRun(Run):
    """Runs a network on the backend. New weights of the network take effect. It may have further inputs and outputs."""

    def __call__(self, images: np.ndarray, *more: np.ndarray) -> Any:
        return self._function(images, *more)

    @functools.cached_property
    def _function(self) -> Any:
        net, single = self.net, len(self.net.inputs) == 1
        if keras.backend.backend() == "tensorflow":
            with bounded():
                function = tensorflow_function(net)

            def run(images: np.ndarray, *more: np.ndarray) -> Any:
                found = function(images.astype(self.dtype, copy=False), *more)
                return keras.tree.map_structure(lambda tensor: tensor.numpy(), found)

            return run
        if keras.backend.backend() == "torch":
            import torch

            def eager(*inputs: np.ndarray) -> Any:
                found = net(inputs[0] if single else list(inputs), training=False)
                return keras.tree.map_structure(ops.convert_to_numpy, found)

            return torch.inference_mode()(eager)
        return net.predict_on_batch if single else lambda *inputs: net.predict_on_batch(list(inputs))


class OpenVINORun(Run):
    """Runs a network on OpenVINO, in float32 or, calibrated on images `(H, W, C)`, in int8.

    The first shape gets a graph of its own, since layers use faster operations at known sizes (`kseg.layers.Conv2D`).
    Others share a graph for all sizes. After `PIXELS` pixels in a row in images of another shape, the graph for the
    first is replaced by one for this shape. Making a graph takes two seconds.
    """

    PIXELS = 2**23

    def __init__(self, net: keras.Model, calibration: Sequence[np.ndarray] = ()):
        super().__init__(net)
        self.calibration = calibration
        self._shape: tuple[int, ...] = ()  # of the graph `_fixed`
        self._fixed: Any = None
        self._other: tuple[int, ...] = ()
        self._seen = 0  # pixels in a row in images of the shape `_other`

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.compiled(images.shape)(images.astype(self.dtype, copy=False), share_inputs=True)[0]

    def compiled(self, shape: tuple[int, ...]) -> Any:
        """Returns the compiled graph for images of this shape."""
        self._seen = math.prod(shape[:3]) + (self._seen if shape == self._other else 0)
        self._other = shape
        if shape == self._shape:
            return self._fixed
        if self._fixed is not None and self._seen <= self.PIXELS and is_any_size():
            return self._any_size
        if self.calibration:  # a second calibration would take minutes
            graph = self.graph.clone()
            graph.reshape(shape)
        else:
            graph = openvino_graph(self.net, shape[:3])
        self._shape, self._fixed = shape, openvino_compiled(graph)
        return self._fixed

    @functools.cached_property
    def graph(self) -> Any:
        """The `openvino.Model` for any image size."""
        if not self.calibration:
            return openvino_graph(self.net)
        with enlarged():
            graph = openvino_graph(self.net)
        return int8_graph(graph, self.calibration)

    @functools.cached_property
    def _any_size(self) -> Any:
        return openvino_compiled(self.graph)


class ONNXRun(Run):
    """Runs a network on ONNX Runtime, at any image size."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(None, {"image": images.astype(self.dtype, copy=False)})[0]

    @functools.cached_property
    def _session(self) -> Any:
        return onnx_session(onnx_graph(self.net).SerializeToString())


class AutoRun(Run):
    """Runs a network on OpenVINO, or on the backend if OpenVINO cannot convert it."""

    _run: Run | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if self._run is None:
            self._run = run = OpenVINORun(self.net)
            try:
                run.compiled(images.shape)
            except Exception as error:  # of types of its own
                text = f"{self.net.name} runs on Keras, OpenVINO cannot convert it: {reason(error)}"
                warnings.warn(text, stacklevel=2)
                self._run = KerasRun(self.net)
        return self._run(images)
