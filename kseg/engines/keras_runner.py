"""The choice of an engine, which runs a Keras model on arrays, to probabilities or to class ids."""

import importlib.util
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.engines.conversion import is_any_size
from kseg.engines.keras_engines import AutoRun, KerasRun, ONNXRun, OpenVINORun, Run
from kseg.engines.network import Network
from kseg.engines.runner import Loss
from kseg.engines.runtimes import RUNTIMES, check_backend, check_installed
from kseg.engines.step import step_of
from kseg.metrics import gives_logits

ENGINES: Mapping[str, type[Run]] = MappingProxyType(
    {"keras": KerasRun, "openvino": OpenVINORun, "onnxruntime": ONNXRun, "auto": AutoRun}
)
"""What runs a network: Keras on its backend, another runtime on the CPU, or the one that is faster for many images."""


def choose(engine: str) -> type[Run]:
    """Returns the class that runs networks on an engine.

    Raises:
        ModuleNotFoundError: If the engine needs a package that is not installed.
        ValueError: If there is no such engine, or it takes no models of this backend.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if engine == "auto":
        # With PyTorch as the backend, each image size would be converted, which takes as long as dozens of images.
        fast = keras.backend.backend() == "tensorflow" and importlib.util.find_spec("openvino") is not None
        return AutoRun if fast and "cpu" in str(ops.zeros(1).device).lower() else KerasRun
    if engine != "keras":
        runtime = RUNTIMES["onnx" if engine == "onnxruntime" else engine]
        check_installed(engine, (*runtime.packages, *runtime.converters))
        check_backend(engine, runtime, keras.backend.backend(), otherwise=", or use the engine keras")
    return ENGINES[engine]


class KerasRunner:
    """Runs a Keras model on an engine; see `kseg.engines.Runner`.

    Choosing the classes inside the network is faster than fetching the scores of all classes. The functions are kept as
    long as the model, and compiled in their first call. Their weights are those that the model has now. With images for
    calibration, `(H, W, C)`, they compute in int8 and are not kept.

    Raises:
        ModuleNotFoundError: If the engine needs a package that is not installed.
        ValueError: If there is no such engine, it takes no models of this backend, or there are images for calibration
            and the engine is not OpenVINO, at any image size.
    """

    gives_labels = False

    def __init__(
        self,
        model: keras.Model,
        *,
        from_logits: bool | None,
        engine: str = "keras",
        calibration: Sequence[np.ndarray] = (),
    ) -> None:
        self.model = model
        self.from_logits = gives_logits(model) if from_logits is None else from_logits
        self.powers = keras.backend.backend() == "jax"  # which compiles the network for each number of images
        self.step = step_of(model)
        run = choose(engine)
        if calibration and (run not in (OpenVINORun, AutoRun) or not is_any_size()):
            raise ValueError('int8 needs the engine "openvino" or "auto", and TensorFlow: set KERAS_BACKEND=tensorflow')
        network = Network.of(model)

        def made(ending: str) -> Any:
            net = network.net(ending, from_logits=self.from_logits)
            if calibration:
                return OpenVINORun(net, calibration)
            weights = None if run is KerasRun else network.weights
            return network.keep((run, ending, self.from_logits), lambda: run(net), weights)

        self.probabilities, self.labels = made("probabilities"), made("labels")
        self._measuring: tuple[Loss, KerasRun] | None = None

    def with_loss(self, loss: Loss) -> KerasRun | None:
        """Returns a function from images and label maps, int32 `(N, H, W)`, to labels and a loss, a scalar.

        It runs on the backend, and is kept until another loss is asked for. For other engines, returns None.
        """
        if not isinstance(self.labels, KerasRun):
            return None
        if self._measuring is None or self._measuring[0] is not loss:
            network = Network.of(self.model)
            made = lambda: KerasRun(network.measuring(loss, from_logits=self.from_logits))  # noqa: E731
            self._measuring = loss, network.keep(("loss", self.from_logits), made, loss)
        return self._measuring[1]
