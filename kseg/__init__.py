"""Semantic segmentation for Keras 3: the same model, weights and logits on TensorFlow, JAX and PyTorch.

Example:
    >>> import kseg
    >>> model = kseg.zoo.unet(num_classes=11, encoder_weights=None)
    >>> model.output_shape
    (None, None, None, 11)
"""

import importlib

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in {"tensorflow", "jax", "torch"}:
        raise
    raise ModuleNotFoundError(
        f"Keras is set to the backend {error.name!r}, which is not installed: pip install 'kseg[{error.name}]', "
        "or set KERAS_BACKEND to tensorflow, jax or torch, whichever is there"
    ) from None

# Importing these registers their classes, so that keras.saving.load_model needs no custom objects.
from kseg import encoders, layers, losses, metrics

__version__ = "0.1.0"

_ON_DEMAND = ("checkpoints", "data", "inference", "pretrained", "training", "visualize", "zoo")

__all__ = ["encoders", "layers", "losses", "metrics", *_ON_DEMAND]


def __getattr__(name: str) -> object:
    if name in _ON_DEMAND:
        return importlib.import_module(f"kseg.{name}")
    raise AttributeError(f"module 'kseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
