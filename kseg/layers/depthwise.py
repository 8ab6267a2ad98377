"""Depthwise convolution on JAX on a CPU, for which XLA has no fast program.

Measured with JAX 0.10.2 on 2 threads of an AMD EPYC with AVX-512, in CPU time relative to XLA's own convolution:

- A training step of the U-Net on EfficientNet-Lite0 takes 0.34 times as long, of DeepLabV3+ on ResNet50 0.41 times (2
  images of 256x320). The first step of the U-Net, which compiles, takes 1.15 times as long. Memory does not grow.
- Inference (one image of 384x480) takes 0.72 times as long for the U-Net, but still several times as long as on
  TensorFlow (`benchmarks/experiments/speed.csv`), and 0.90 times for DeepLabV3+.

XLA's other convolutions do 45 to 50 billion multiply-adds per second and core, but only 7 billion in the gradients of
convolutions with 16 output channels. The order of axes (NCHW or NHWC) makes no difference to the convolutions, nor do
`--xla_cpu_use_thunk_runtime=false` and `--xla_cpu_use_onednn=true`; without YNNPACK they are up to 3 times as slow.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

SMALLEST = 2**15
"""Values in an image from which on the shorter time of each call outweighs the longer time of compiling."""


def is_faster(x: Any) -> bool:
    """Returns whether `depthwise_convolution` is faster than XLA's: on a CPU, for large images of known sizes."""
    import jax

    plain = keras.backend.is_float_dtype(x.dtype) and all(isinstance(side, int) for side in x.shape)
    return jax.default_backend() == "cpu" and plain and math.prod(x.shape) >= SMALLEST


def depthwise_convolution(x: Any, kernel: Any, strides: Sequence[int], rates: Sequence[int], padding: str) -> Any:
    """Convolves each channel on its own, as the sum over the kernel's taps of shifted images times one weight each.

    Sums are computed in float32 or wider. There are gradients, but no forward-mode derivatives (`jax.jvp`).

    Args:
        x: `(N, H, W, C)`, with known sides.
        kernel: `(height, width, C, multiplier)`.
        strides: Strides of rows and columns.
        rates: Dilation rates of rows and columns.
        padding: "same" or "valid".

    Returns:
        `(N, H', W', C * multiplier)`, with the dtype of `x`.
    """
    *size, _, multiplier = kernel.shape
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    weights = ops.cast(ops.reshape(kernel, (*size, -1)), wide.dtype)
    y = _program()(ops.repeat(wide, multiplier, axis=-1), weights, tuple(strides), tuple(rates), padding.upper())
    return ops.cast(y, x.dtype)


@functools.cache
def _program() -> Any:
    import jax
    from jax import lax
    from jax import numpy as jnp

    def padded(x: Any, size: Any, strides: Any, rates: Any, padding: str) -> tuple[Any, Any]:
        """Returns the padded image, and the number of rows and columns of the result."""
        windows = [(taps - 1) * rate + 1 for taps, rate in zip(size, rates, strict=True)]
        around = lax.padtype_to_pads(x.shape[1:3], windows, strides, padding)
        x = jnp.pad(x, [(0, 0), *around, (0, 0)])
        sides = zip(x.shape[1:3], windows, strides, strict=True)
        return x, [max(0, (side - window) // step + 1) for side, window, step in sides]

    def cut(x: Any, axis: int, start: int, count: int, step: int) -> Any:
        return lax.slice_in_dim(x, start, start + max(0, (count - 1) * step + 1), step, axis)

    def forward(x: Any, kernel: Any, strides: Any, rates: Any, padding: str) -> Any:
        x, (rows, columns) = padded(x, kernel.shape[:2], strides, rates, padding)
        y = jnp.zeros((x.shape[0], rows, columns, x.shape[3]), x.dtype)
        for i, j in np.ndindex(kernel.shape[:2]) if y.size else ():
            part = cut(cut(x, 1, i * rates[0], rows, strides[0]), 2, j * rates[1], columns, strides[1])
            y += part * kernel[i, j]
        return y

    def backward(strides: Any, rates: Any, padding: str, given: Any, slope: Any) -> Any:
        x, kernel = given
        (of_x,) = jax.vjp(lambda image: forward(image, kernel, strides, rates, padding), x)[1](slope)
        # XLA's sum over pixels takes ten times as long as this loop, which adds rows.
        height, width, channels = kernel.shape
        x, (rows, columns) = padded(x, (height, width), strides, rates, padding)

        def add(step: Any, sums: Any) -> Any:
            image, row = step // rows, step % rows
            factor = lax.dynamic_slice(slope, (image, row, 0, 0), (1, 1, columns, channels))[0]
            window = (1, (height - 1) * rates[0] + 1, x.shape[2], channels)
            lines = lax.dynamic_slice(x, (image, row * strides[0], 0, 0), window)[0][:: rates[0]]
            return [total + cut(lines, 1, j * rates[1], columns, strides[1]) * factor for j, total in enumerate(sums)]

        zero = jnp.zeros((height, columns, channels), x.dtype)
        sums = lax.fori_loop(0, x.shape[0] * rows, add, [zero] * width) if slope.size else [zero] * width
        return of_x, jnp.stack([total.sum(1) for total in sums], 1)

    convolution = jax.custom_vjp(forward, nondiff_argnums=(2, 3, 4))
    convolution.defvjp(lambda *given: (forward(*given), given[:2]), backward)
    return jax.jit(convolution, static_argnums=(2, 3, 4))
