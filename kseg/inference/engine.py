"""The choice of an engine, which runs a network on arrays, to probabilities or to class ids."""

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.inference.conversion import check_packages, is_any_size
from kseg.inference.loss import Loss
from kseg.inference.network import Network
from kseg.inference.runtimes import AutoRun, KerasRun, ONNXRun, OpenVINORun, Run

ENGINES: Mapping[str, type[Run]] = MappingProxyType(
    {"keras": KerasRun, "openvino": OpenVINORun, "onnxruntime": ONNXRun, "auto": AutoRun}
)
"""What runs a network: Keras on its backend, another runtime on the CPU, or the one that is faster for many images."""


def check_model(model: Any) -> None:
    """Raises an error with the cure if a model does not map one image to one score per class and pixel."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"a model must be a keras.Model, got {model!r}: kseg.zoo.load reads weight files")
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise ValueError(
            f"{model.name} is a subclassed or unbuilt model, its input and output are unknown: wrap it, "
            "x = keras.Input((None, None, 3)); model = keras.Model(x, model(x))"
        )
    if len(inputs) > 1:
        raise ValueError(
            f"{model.name} has {len(inputs)} inputs: give it one image that is split inside, e.g. {_split(inputs)}"
        )
    if len(outputs) > 1:
        raise ValueError(
            f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale, or keep one, "
            "keras.Model(model.inputs, model.outputs[0])"
        )
    if _is_channels_first(shape := inputs[0].shape, outputs[0].shape):
        raise ValueError(
            f"{model.name} takes channels-first images {shape}, kseg (N, H, W, C): wrap it, "
            f"x = keras.Input({(*shape[2:], shape[1])}); y = model(keras.ops.transpose(x, (0, 3, 1, 2))); "
            "model = keras.Model(x, keras.ops.transpose(y, (0, 2, 3, 1)))"
        )
    if len(inputs[0].shape) != 4 or len(outputs[0].shape) != 4 or None in (inputs[0].shape[-1], outputs[0].shape[-1]):
        raise ValueError(
            f"{model.name} maps {inputs[0].shape} to {outputs[0].shape}: "
            "a segmentation model maps images (N, H, W, C) to scores (N, H, W, num_classes)"
        )


def _split(inputs: Sequence[Any]) -> str:
    """Returns the code that makes a model of several inputs one of a single image."""
    channels = [each.shape[-1] or 1 if len(each.shape) == 4 else 1 for each in inputs]
    ends = np.cumsum([0, *channels]).tolist()
    parts = ", ".join(f"x[..., {start}:{stop}]" for start, stop in itertools.pairwise(ends))
    return f"x = keras.Input((None, None, {ends[-1]})); model = keras.Model(x, model([{parts}]))"


def _is_channels_first(image: Sequence[int | None], scores: Sequence[int | None]) -> bool:
    """Returns whether these shapes of an image and of its scores are (N, C, H, W) and (N, num_classes, H, W)."""
    if len(image) != 4 or len(scores) != 4 or image[1] is None:
        return False
    if image[1] <= 4 and (image[3] or 32) >= 32:
        return True
    smaller = image[1] < min(side or 32 for side in image[2:])
    return smaller and tuple(image[2:]) == tuple(scores[2:]) and (image[1] <= 16 or image[1] != scores[1])


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
        check_packages(engine)
    return ENGINES[engine]


def networks(
    model: keras.Model, *, from_logits: bool, engine: str = "keras", calibration: Sequence[np.ndarray] = ()
) -> tuple[Run, Run]:
    """Returns functions that run a model to probabilities, float32 `(N, H, W, num_classes)`, and to labels.

    Choosing the classes inside the network is faster than fetching the scores of all classes. The functions are kept as
    long as the model, and compiled in their first call. Their weights are those that the model has now. With images for
    calibration, `(H, W, C)`, they compute in int8 and are not kept.

    Raises:
        ValueError: If there are images for calibration and the engine is not OpenVINO, at any image size.
    """
    run, network = choose(engine), Network.of(model)
    if calibration and (run not in (OpenVINORun, AutoRun) or not is_any_size()):
        raise ValueError('precision="int8" needs engine="openvino" and TensorFlow as the backend')

    def made(ending: str) -> Any:
        net = network.net(ending, from_logits=from_logits)
        if calibration:
            return OpenVINORun(net, calibration)
        weights = None if run is KerasRun else network.weights
        return network.keep((run, ending, from_logits), lambda: run(net), weights)

    return made("probabilities"), made("labels")


def measuring(model: keras.Model, loss: Loss, *, from_logits: bool) -> KerasRun:
    """Returns a function from images and label maps, int32 `(N, H, W)`, to labels and a loss, a scalar, on the backend.

    It is kept until another loss is asked for.
    """
    network = Network.of(model)
    return network.keep(("loss", from_logits), lambda: KerasRun(network.measuring(loss, from_logits=from_logits)), loss)
