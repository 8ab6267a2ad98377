"""Semantic segmentation for Keras 3: the same model, weights and logits on TensorFlow, JAX and PyTorch.

Example:
    >>> import kseg
    >>> model = kseg.zoo.unet(num_classes=11, encoder_weights=None)
    >>> model.output_shape
    (None, None, None, 11)
"""

import importlib
import importlib.util
import pathlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kseg import (
        checkpoints,
        data,
        download,
        encoders,
        export,
        inference,
        layers,
        losses,
        metrics,
        pretrained,
        progress,
        serve,
        training,
        visualize,
        zoo,
    )  # fmt: skip

__version__ = "0.2.0"

__all__ = [
    "checkpoints", "data", "download", "encoders", "export", "inference", "layers", "losses", "metrics", "pretrained",
    "progress", "serve", "training", "visualize", "zoo",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in __all__:
        return _import(name)
    raise AttributeError(f"module 'kseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


class _TritonGuard:
    """Refuses triton once TensorFlow is loaded.

    PyTorch's builds for GPUs bring triton, whose library crashes a process that has loaded TensorFlow. PyTorch and what
    is built on it (timm, torchmetrics) work without.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "triton" and "tensorflow" in sys.modules:
            sys.modules["triton"] = None  # type: ignore[assignment]  # `importlib.util.find_spec` then gives None
            raise ModuleNotFoundError(
                "kseg refuses triton, which crashes a process that has loaded TensorFlow", name=name
            )


sys.meta_path.insert(0, _TritonGuard)


def _import(name: str) -> object:
    try:
        return importlib.import_module(f"kseg.{name}")
    except ModuleNotFoundError as error:
        if error.name not in {"tensorflow", "jax", "torch"}:
            raise
        raise ModuleNotFoundError(
            f"Keras is set to the backend {error.name!r}, which is not installed: pip install 'kseg[{error.name}]', "
            "or set KERAS_BACKEND to tensorflow, jax or torch, whichever is installed"
        ) from None


# The command `kseg` imports Keras only when a subcommand needs it, so that `kseg --help` answers at once. Exported
# models run where Keras or all of its backends are missing. Everywhere else `import kseg` registers its classes with
# Keras, so that `keras.saving.load_model` needs no custom objects.
_is_command = pathlib.PurePath(*sys.argv[:1]).stem == "kseg" or (sys.argv[:1] == ["-m"] and "kseg.cli" in sys.orig_argv)


def _has_keras() -> bool:
    found = {name for name in ("keras", "tensorflow", "jax", "torch") if importlib.util.find_spec(name) is not None}
    return "keras" in found and len(found) > 1


_REGISTERED = ("layers", "losses", "metrics.segmentation_scores", "encoders", "pretrained.model", "training.optimizer")
if not _is_command and _has_keras():
    for _part in _REGISTERED:
        _import(_part)
