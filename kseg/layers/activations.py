"""Activations in a form that exporters know."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kseg")  # type: ignore[untyped-decorator]
def exact_gelu(x: Any) -> Any:
    """Computes `keras.activations.gelu` without its approximation.

    On TensorFlow it is computed by erf, which ONNX has, not by erfc, and in the form that LiteRT recognizes.

    Example:
        >>> import numpy as np
        >>> round(float(exact_gelu(np.ones((), "float32"))), 4)
        0.8413
    """
    if keras.backend.backend() != "tensorflow":
        return ops.gelu(x, approximate=False)
    return (0.5 * x) * (1.0 + ops.erf(x * math.sqrt(0.5)))
