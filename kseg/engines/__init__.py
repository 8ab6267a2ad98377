"""What runs a network: Keras on its backend, another runtime, or a file that was exported for one."""

import importlib
from typing import TYPE_CHECKING

from kseg.engines.exported import Exported, as_labels, as_probabilities, as_scores, is_exported
from kseg.engines.memory import is_out_of_memory
from kseg.engines.runner import Loss, Runner, opened, runner_of
from kseg.engines.runtimes import ENTRY, KEY, RUNTIMES, Runtime, check_backend, check_installed, reason

if TYPE_CHECKING:
    from kseg.engines.conversion import (
        int8_graph,
        known_shape,
        onnx_graph,
        openvino_graph,
        tensorflow_function,
        torch_program,
    )
    from kseg.engines.keras_engines import KerasRun
    from kseg.engines.keras_runner import ENGINES
    from kseg.engines.model_check import check_model
    from kseg.engines.network import Ending, Network
    from kseg.engines.processor import ProcessorRunner
    from kseg.engines.step import step_of

__all__ = [
    "ENGINES", "ENTRY", "KEY", "RUNTIMES", "Ending", "Exported", "KerasRun", "Loss", "Network", "ProcessorRunner",
    "Runner", "Runtime", "as_labels", "as_probabilities", "as_scores", "check_backend", "check_installed",
    "check_model", "int8_graph", "is_exported", "is_out_of_memory", "known_shape", "onnx_graph", "opened",
    "openvino_graph", "reason", "runner_of", "step_of", "tensorflow_function", "torch_program",
]  # fmt: skip

_KERAS = {
    "conversion": (
        "int8_graph", "known_shape", "onnx_graph", "openvino_graph", "tensorflow_function", "torch_program",
    ),
    "keras_runner": ("ENGINES",),
    "model_check": ("check_model",),
    "network": ("Ending", "Network"),
    "keras_engines": ("KerasRun",),
    "processor": ("ProcessorRunner",),
    "step": ("step_of",),
}  # fmt: skip
"""What needs Keras, by module: imported on first use, since exported files run without Keras."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    for module, names in _KERAS.items():
        if name in names:
            return getattr(importlib.import_module(f"kseg.engines.{module}"), name)
    raise AttributeError(f"module 'kseg.engines' has no attribute {name!r}")
