"""The convolution of an image enlarged to twice its size, computed on the small image."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

# Both tables define which taps of a 3-tap kernel are added, for one axis; the kernel of two axes uses them twice.
# TRANSPOSED[r, a] is 1 if tap a of the kernel is part of tap r of the transposed convolution.
# PHASES[p][t, a] is 1 if, for output pixel 2i + p, tap a meets small pixel i + p - 1 + t.
TRANSPOSED = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], "float32")
PHASES = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], "float32")


def doubled_convolution(x: Any, kernel: Any) -> Any:
    """Copies each pixel to 2x2 pixels, then convolves with a 3x3 kernel and padding "same".

    Each output pixel lies within 2x2 pixels of `x`. The taps of the kernel that meet the same pixel of `x` are added
    first, which leaves 4 of 9 multiplications, and the enlarged image is never made. Results differ from those of the
    two steps by rounding. On TensorFlow and PyTorch this is one transposed convolution with a kernel of 4x4; on JAX,
    whose compiler makes slow gradients of those, it is one convolution for each of the four positions in a 2x2 square.

    Args:
        x: `(N, H, W, C)`.
        kernel: `(3, 3, C, filters)`.

    Returns:
        `(N, 2 * H, 2 * W, filters)`.

    Example:
        >>> tuple(doubled_convolution(np.ones((1, 3, 5, 2), "float32"), np.ones((3, 3, 2, 4), "float32")).shape)
        (1, 6, 10, 4)
    """
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    backend = keras.backend.backend()
    if backend == "jax":
        return _by_phases(x, kernel)
    taps = _added(kernel, TRANSPOSED, TRANSPOSED)
    if backend == "tensorflow":
        return ops.conv_transpose(x, ops.swapaxes(taps, 2, 3), 2, padding="same", data_format="channels_last")
    from torch.nn import functional

    x, taps = x.permute(0, 3, 1, 2), taps.permute(2, 3, 0, 1)
    return functional.conv_transpose2d(x, taps, stride=2, padding=1).permute(0, 2, 3, 1)


def _by_phases(x: Any, kernel: Any) -> Any:
    count, height, width, _ = ops.shape(x)
    x = ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])

    def phase(p: int, q: int) -> Any:
        part = x[:, p : p + height + 1, q : q + width + 1]
        return ops.conv(part, _added(kernel, PHASES[p], PHASES[q]), padding="valid", data_format="channels_last")

    rows = [ops.stack([phase(p, q) for q in (0, 1)], axis=3) for p in (0, 1)]
    return ops.reshape(ops.stack(rows, axis=2), (count, 2 * height, 2 * width, kernel.shape[-1]))


def _added(kernel: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    rows, columns = (_table(table, kernel) for table in (rows, columns))
    return ops.einsum("ia,jb,abcf->ijcf", rows, columns, kernel)


def _table(table: np.ndarray, like: Any) -> Any:
    """Returns a table as a tensor; on PyTorch it is made once per device, as each copy to a GPU waits for the GPU."""
    if keras.backend.backend() == "torch":
        import torch

        if not torch.compiler.is_compiling():  # values of a traced program cannot be kept
            return _tensor(table.shape, tuple(table.ravel().tolist()), like.dtype, like.device)
    return ops.convert_to_tensor(table, dtype=like.dtype)


@functools.cache
def _tensor(shape: tuple[int, ...], values: tuple[float, ...], dtype: Any, device: Any) -> Any:
    import torch

    with torch.inference_mode(False):  # a tensor made in that mode could not be used in training
        return torch.tensor(values, dtype=dtype, device=device).reshape(shape)
