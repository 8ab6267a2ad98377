"""Grouped convolution as a few dense convolutions, on TensorFlow and on JAX on a CPU.

On a CPU, XLA has no fast program for a grouped convolution, and none for its gradients. Measured with TensorFlow 2.21
and JAX 0.10.2 on one thread of an AMD EPYC, 32 groups of 128 channels, two images of 56x56 (JAX: 28x28), in CPU time:

- TensorFlow: 37 ms, with gradients 3830 ms; as dense convolutions 7.0 ms and 19 ms.
- JAX: 5.9 ms, with gradients 960 ms; as dense convolutions 1.6 ms and 4.5 ms.
- PyTorch: 2.6 ms, with gradients 11 ms; as dense convolutions 7.3 ms and 24 ms.

On TensorFlow, Keras compiles a grouped convolution by XLA, which the formats for export cannot contain.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

CHANNELS = 32
"""Input channels of a dense convolution; more multiply zeros, fewer cost more calls."""


def is_faster() -> bool:
    """Returns whether `grouped_convolution` is faster than the backend's own."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    return bool(backend == "tensorflow")


def grouped_convolution(convolve: Callable[[Any, Any], Any], x: Any, kernel: Any, groups: int) -> Any:
    """Convolves the channels of each group on their own.

    Several groups share a dense convolution, whose kernel is 0 where it would mix them.

    Args:
        convolve: Convolves an image with a dense kernel.
        x: `(N, H, W, C)`.
        kernel: `(height, width, C // groups, filters)`.
        groups: Number of groups.

    Returns:
        `(N, H', W', filters)`.

    Example:
        >>> import numpy as np
        >>> plain = lambda x, kernel: ops.conv(x, kernel, padding="same", data_format="channels_last")
        >>> x, kernel = np.ones((1, 5, 7, 6), "float32"), np.ones((3, 3, 2, 9), "float32")
        >>> tuple(grouped_convolution(plain, x, kernel, groups=3).shape)
        (1, 5, 7, 9)
    """
    height, width, inputs, filters = kernel.shape
    outputs = filters // groups
    together = max(n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * inputs <= CHANNELS))
    kernel = ops.reshape(
        ops.convert_to_tensor(kernel), (height, width, 1, inputs, groups // together, together, outputs)
    )
    same = np.eye(together).reshape(together, 1, 1, together, 1)
    dense = kernel * ops.convert_to_tensor(same, dtype=kernel.dtype)
    dense = ops.reshape(dense, (height, width, together * inputs, groups // together, together * outputs))
    parts = zip(
        ops.split(ops.convert_to_tensor(x), groups // together, axis=-1), range(groups // together), strict=True
    )
    return ops.concatenate([convolve(part, dense[:, :, :, index]) for part, index in parts], axis=-1)
