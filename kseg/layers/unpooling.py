"""Unpooling in its three kinds: copy, nails, and maxima put back where they came from. Reshapes only, no scatter."""

from typing import Any

import keras
import numpy as np
from keras import ops


def _positive(layer: str, name: str, value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{layer}: {name} must be a positive integer, got {value!r}")
    return value


def _times(shape, factor):
    """`(N, H, W, C)` with height and width times `factor`."""
    batch, *size, channels = shape
    return (batch, *(n if n is None else n * factor for n in size), channels)


@keras.saving.register_keras_serializable(package="kseg")
class NearestUnpooling2D(keras.layers.Layer):
    """Repeat every pixel `factor` times along rows and columns.

    Args:
        factor: how many times larger the output is.

    Returns:
        `(N, factor * H, factor * W, C)`, with the dtype of the input.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> keras.ops.convert_to_numpy(NearestUnpooling2D()(image))[0, :, :, 0].astype(int).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    """

    def __init__(self, factor: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = _positive("NearestUnpooling2D", "factor", factor)

    def call(self, x):
        return ops.repeat(ops.repeat(x, self.factor, axis=1), self.factor, axis=2)

    def compute_output_shape(self, x_shape):
        return _times(x_shape, self.factor)

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=x.dtype)

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable(package="kseg")
class BedOfNailsUnpooling2D(keras.layers.Layer):
    """Put every pixel into the upper left corner of a window of zeros.

    Args:
        factor: how many times larger the output is.

    Returns:
        `(N, factor * H, factor * W, C)`, with the dtype of the input.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> keras.ops.convert_to_numpy(BedOfNailsUnpooling2D()(image))[0, :, :, 0].astype(int).tolist()
        [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    """

    def __init__(self, factor: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = _positive("BedOfNailsUnpooling2D", "factor", factor)

    def call(self, x):
        _, height, width, channels = ops.shape(x)
        after = (0, self.factor - 1)
        x = ops.pad(x[:, :, None, :, None, :], ((0, 0), (0, 0), after, (0, 0), after, (0, 0)))
        return ops.reshape(x, (-1, height * self.factor, width * self.factor, channels))

    def compute_output_shape(self, x_shape):
        return _times(x_shape, self.factor)

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=x.dtype)

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable(package="kseg")
class MaxPoolingWithArgmax2D(keras.layers.Layer):
    """Max pooling that also says where in its window each maximum was, for `MaxUnpooling2D` to put it back.

    Windows do not overlap (stride = pool_size). Among equal values the first in reading order wins, and it alone
    receives the gradient.

    Args:
        pool_size: height and width of the window.
        padding: what happens to rows and columns that fill no whole window: "floor" drops them (Keras "valid",
            PyTorch's default), "ceil" pools them by a smaller window (Caffe, SegNet: 45 gives 23).

    Returns:
        The pooled `(N, H', W', C)` and, of the same shape, the int32 argmax: the position of the maximum inside its
        window, row by row, from 0 to pool_size * pool_size - 1. A position is small and independent of the image's
        size; the pixel is at row `pool_size * i + argmax // pool_size`, column `pool_size * j + argmax % pool_size`.

    Reference:
        Badrinarayanan et al., SegNet, https://arxiv.org/abs/1511.00561

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], "float32")[None, :, :, None]
        >>> pooled, argmax = MaxPoolingWithArgmax2D()(image)
        >>> keras.ops.convert_to_numpy(pooled)[0, :, :, 0].astype(int).tolist()
        [[5, 6], [7, 8]]
        >>> keras.ops.convert_to_numpy(argmax)[0, :, :, 0].tolist()
        [[3, 0], [2, 3]]
    """

    def __init__(self, pool_size: int = 2, padding: str = "floor", **kwargs: Any):
        super().__init__(**kwargs)
        if padding not in ("floor", "ceil"):
            raise ValueError(f'MaxPoolingWithArgmax2D: padding is "floor" or "ceil", got {padding!r}')
        self.pool_size = _positive("MaxPoolingWithArgmax2D", "pool_size", pool_size)
        self.padding = padding

    def call(self, x):
        pool = self.pool_size
        _, height, width, channels = ops.shape(x)
        rows, columns = self._pooled(height), self._pooled(width)
        if self.padding == "ceil":
            # No value is below the lowest, and a window's first place is always real: padding is never chosen.
            dtype = keras.backend.standardize_dtype(x.dtype)
            lowest = -np.inf if keras.backend.is_float_dtype(dtype) else np.iinfo(dtype).min
            x = ops.pad(x, ((0, 0), (0, pool - 1), (0, pool - 1), (0, 0)), constant_values=lowest)
        x = ops.reshape(x[:, : rows * pool, : columns * pool], (-1, rows, pool, columns, pool, channels))
        best = x[:, :, 0, :, 0]
        argmax = ops.zeros_like(best, dtype="int32")
        for position in range(1, pool * pool):
            value = x[:, :, position // pool, :, position % pool]
            larger = value > best  # strictly: the first of equals stays
            best = ops.where(larger, value, best)
            argmax = ops.where(larger, position, argmax)
        return best, argmax

    def compute_output_shape(self, x_shape):
        batch, *size, channels = x_shape
        shape = (batch, *(n if n is None else self._pooled(n) for n in size), channels)
        return shape, shape

    def compute_output_spec(self, x):
        shape, _ = self.compute_output_shape(x.shape)
        return keras.KerasTensor(shape, dtype=x.dtype), keras.KerasTensor(shape, dtype="int32")

    def get_config(self):
        return super().get_config() | {"pool_size": self.pool_size, "padding": self.padding}

    def _pooled(self, size):
        if isinstance(size, int) and self.padding == "floor" and size < self.pool_size:
            raise ValueError(
                f'{self.name}: a window of {self.pool_size} does not fit into {size} pixels: padding="ceil" pools them'
            )
        return (size + (self.pool_size - 1 if self.padding == "ceil" else 0)) // self.pool_size


@keras.saving.register_keras_serializable(package="kseg")
class MaxUnpooling2D(keras.layers.Layer):
    """Put values back where `MaxPoolingWithArgmax2D` found its maxima; all else is zero.

    Args:
        pool_size: the pooling's.

    Call arguments:
        x: `(N, H', W', C)`, the values.
        argmax: `(N, H', W', C)`, positions inside the windows, from `MaxPoolingWithArgmax2D`.
        like: optional, a tensor of the size before pooling, `(N, H, W, ...)`: odd sizes need it, or come back even.

    Returns:
        `(N, H, W, C)`, with the dtype of `x`; without `like`, `H = pool_size * H'`.

    Reference:
        Badrinarayanan et al., SegNet, https://arxiv.org/abs/1511.00561

    Example:
        >>> import numpy as np
        >>> x = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> argmax = np.array([[3, 0], [2, 3]])[None, :, :, None]
        >>> keras.ops.convert_to_numpy(MaxUnpooling2D()(x, argmax))[0, :, :, 0].astype(int).tolist()
        [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    """

    def __init__(self, pool_size: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = _positive("MaxUnpooling2D", "pool_size", pool_size)

    def call(self, x, argmax, like=None):
        pool = self.pool_size
        _, height, width, channels = ops.shape(x)
        positions = ops.reshape(ops.arange(pool * pool, dtype="int32"), (pool, 1, pool, 1))
        here = ops.cast(argmax, "int32")[:, :, None, :, None, :] == positions  # (N, H', pool, W', pool, C)
        x = ops.where(here, x[:, :, None, :, None, :], ops.zeros((), dtype=x.dtype))
        x = ops.reshape(x, (-1, height * pool, width * pool, channels))
        if like is None:
            return x
        self.compute_output_shape(x_shape=(None, height, width, None), like_shape=like.shape)  # checks what is known
        # Floor pooling left a margin out, ceil pooling padded one: add the largest possible, then cut to size.
        rows, columns = ops.shape(like)[1:3]
        if not (
            isinstance(rows, int) and isinstance(columns, int) and rows <= height * pool and columns <= width * pool
        ):
            x = ops.pad(x, ((0, 0), (0, pool - 1), (0, pool - 1), (0, 0)))
        return x[:, :rows, :columns]

    def compute_output_shape(self, x_shape, argmax_shape=None, like_shape=None):
        batch, height, width, channels = _times(x_shape, self.pool_size)
        if like_shape is None:
            return (batch, height, width, channels)
        for pooled, size in ((height, like_shape[1]), (width, like_shape[2])):
            if isinstance(pooled, int) and isinstance(size, int) and abs(pooled - size) >= self.pool_size:
                raise ValueError(
                    f"{self.name}: {self.pool_size}x unpooling gives {pooled}, too far from the {size} of `like`: "
                    "pass the tensor that was pooled"
                )
        return (batch, *like_shape[1:3], channels)

    def compute_output_spec(self, x, argmax, like=None):
        shape = self.compute_output_shape(x.shape, like_shape=None if like is None else like.shape)
        return keras.KerasTensor(shape, dtype=x.dtype)

    def get_config(self):
        return super().get_config() | {"pool_size": self.pool_size}
