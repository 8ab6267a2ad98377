"""Unpooling by copies, by zeros, and to the positions of the maxima. All of it is reshaping; nothing is scattered."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import repeated
from kseg.layers.tracing import is_single_operation


def _positive(layer: keras.layers.Layer, name: str, value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{type(layer).__name__}: {name} must be a positive integer, got {value!r}")
    return value


def _times(shape: Shape, factor: int) -> Shape:
    """`(N, H, W, C)` with height and width times `factor`."""
    batch, *size, channels = shape
    return (batch, *(n if n is None else n * factor for n in size), channels)


class _Unpooling2D(ConfiguredLayer):
    """A layer that enlarges by a whole factor."""

    def __init__(self, factor: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = _positive(self, "factor", factor)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return _times(x_shape, self.factor)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=x.dtype)

    def reach(self, x: Reach) -> Reach:
        return Reach(x.pixels, x.step / self.factor)


@keras.saving.register_keras_serializable(package="kseg")
class NearestUnpooling2D(_Unpooling2D):
    """Repeat every pixel `factor` times along rows and columns.

    Args:
        factor: Ratio of the output size to the input size.

    Returns:
        `(N, factor * H, factor * W, C)`, with the dtype of the input.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> keras.ops.convert_to_numpy(NearestUnpooling2D()(image))[0, :, :, 0].astype(int).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    """

    def call(self, x: Any) -> Any:
        return repeated(x, (self.factor, self.factor))


@keras.saving.register_keras_serializable(package="kseg")
class BedOfNailsUnpooling2D(_Unpooling2D):
    """Place every pixel in the upper left corner of a window of zeros.

    Args:
        factor: Ratio of the output size to the input size.

    Returns:
        `(N, factor * H, factor * W, C)`, with the dtype of the input.

    Example:
        >>> import numpy as np
        >>> image = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> keras.ops.convert_to_numpy(BedOfNailsUnpooling2D()(image))[0, :, :, 0].astype(int).tolist()
        [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    """

    def call(self, x: Any) -> Any:
        _, height, width, channels = ops.shape(x)
        after = (0, self.factor - 1)
        x = ops.pad(x[:, :, None, :, None, :], ((0, 0), (0, 0), after, (0, 0), after, (0, 0)))
        return ops.reshape(x, (-1, height * self.factor, width * self.factor, channels))


@keras.saving.register_keras_serializable(package="kseg")
class MaxPoolingWithArgmax2D(ConfiguredLayer):
    """Max pooling that also returns the position of each maximum in its window, for `MaxUnpooling2D`.

    The windows do not overlap: the stride is `pool_size`. Among equal values the first one in reading order is chosen,
    and only this one receives the gradient.

    Args:
        pool_size: Height and width of the window.
        padding: How rows and columns that do not fill a whole window are treated: "floor" drops them (Keras's "valid",
            PyTorch's default); "ceil" pools them with a smaller window (Caffe and SegNet: 45 pixels become 23).

    Returns:
        Two tensors `(N, H', W', C)`: the maxima, and the int32 argmax, which is the position of the maximum inside its
        window, row by row, from 0 to pool_size * pool_size - 1.

    Raises:
        ValueError: If an argument is invalid, or with "floor" the image is smaller than the window.

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
            raise ValueError(f'MaxPoolingWithArgmax2D: padding must be "floor" or "ceil", got {padding!r}')
        self.pool_size = _positive(self, "pool_size", pool_size)
        self.padding = padding

    def call(self, x: Any) -> Any:
        pool = self.pool_size
        _, height, width, channels = ops.shape(x)
        rows, columns = self._pooled(height), self._pooled(width)
        if self.padding == "ceil":
            # The padding is the lowest value and never the first position of a window, so it is never chosen.
            dtype = keras.backend.standardize_dtype(x.dtype)
            lowest = -np.inf if keras.backend.is_float_dtype(dtype) else np.iinfo(dtype).min
            if is_single_operation() and lowest == -np.inf:  # ONNX files choose by multiplication with 0 and 1
                lowest = -65504.0 if dtype == "float16" else -3e38
            x = ops.pad(x, ((0, 0), (0, pool - 1), (0, pool - 1), (0, 0)), constant_values=lowest)
        x = ops.reshape(x[:, : rows * pool, : columns * pool], (-1, rows, pool, columns, pool, channels))
        best = x[:, :, 0, :, 0]
        argmax = ops.zeros_like(best, dtype="int32")
        for position in range(1, pool * pool):
            value = x[:, :, position // pool, :, position % pool]
            larger = value > best  # strict, so that the first of equal values stays
            best = ops.where(larger, value, best)
            argmax = ops.where(larger, position, argmax)
        return best, argmax

    def compute_output_shape(self, x_shape: Shape) -> tuple[Shape, Shape]:
        batch, *size, channels = x_shape
        shape = (batch, *(n if n is None else self._pooled(n) for n in size), channels)
        return shape, shape

    def compute_output_spec(self, x: Any) -> Any:
        shape, _ = self.compute_output_shape(x.shape)
        return keras.KerasTensor(shape, dtype=x.dtype), keras.KerasTensor(shape, dtype="int32")

    def reach(self, x: Reach) -> Reach:
        return x.window(self.pool_size, stride=self.pool_size)

    def _pooled(self, size: Any) -> Any:
        if isinstance(size, int) and self.padding == "floor" and size < self.pool_size:
            raise ValueError(
                f"{self.name}: a window of {self.pool_size} pixels does not fit into {size} pixels: use larger images "
                'or padding="ceil"'
            )
        return (size + (self.pool_size - 1 if self.padding == "ceil" else 0)) // self.pool_size


@keras.saving.register_keras_serializable(package="kseg")
class MaxUnpooling2D(ConfiguredLayer):
    """Place values at the positions of the maxima that `MaxPoolingWithArgmax2D` found; all other pixels are zero.

    Args:
        pool_size: The `pool_size` of the pooling.

    Call arguments:
        x: Values, `(N, H', W', C)`.
        argmax: Positions inside the windows, `(N, H', W', C)`, from `MaxPoolingWithArgmax2D`.
        like: Tensor `(N, H, W, ...)` of the size before the pooling. Without it the output is a multiple of
            `pool_size`, so odd sizes are not restored.

    Returns:
        `(N, H, W, C)`, with the dtype of `x`; without `like`, `H = pool_size * H'`.

    Raises:
        ValueError: If the size of `like` cannot be the size before the pooling.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1, 2], [3, 4]], "float32")[None, :, :, None]
        >>> argmax = np.array([[3, 0], [2, 3]])[None, :, :, None]
        >>> keras.ops.convert_to_numpy(MaxUnpooling2D()(x, argmax))[0, :, :, 0].astype(int).tolist()
        [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    """

    def __init__(self, pool_size: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = _positive(self, "pool_size", pool_size)

    def call(self, x: Any, argmax: Any, like: Any = None) -> Any:
        pool = self.pool_size
        _, height, width, channels = ops.shape(x)
        positions = ops.reshape(ops.arange(pool * pool, dtype="int32"), (pool, 1, pool, 1))
        # Not indices with None: LiteRT has no operation for them at sizes that are not known.
        here = ops.expand_dims(ops.cast(argmax, "int32"), (2, 4)) == positions  # (N, H', pool, W', pool, C)
        x = ops.where(here, ops.expand_dims(x, (2, 4)), ops.zeros((), dtype=x.dtype))
        x = ops.reshape(x, (-1, height * pool, width * pool, channels))
        if like is None:
            return x
        self.compute_output_shape(x_shape=(None, height, width, None), like_shape=like.shape)  # checks known sizes
        # Pooling with "floor" dropped a margin, with "ceil" it padded one: add the largest possible, then crop.
        rows, columns = ops.shape(like)[1:3]
        if not (
            isinstance(rows, int) and isinstance(columns, int) and rows <= height * pool and columns <= width * pool
        ):
            x = ops.pad(x, ((0, 0), (0, pool - 1), (0, pool - 1), (0, 0)))
        return x[:, :rows, :columns]

    def compute_output_shape(
        self, x_shape: Shape, argmax_shape: Shape | None = None, like_shape: Shape | None = None
    ) -> Shape:
        batch, height, width, channels = _times(x_shape, self.pool_size)
        if like_shape is None:
            return (batch, height, width, channels)
        for pooled, size in ((height, like_shape[1]), (width, like_shape[2])):
            if isinstance(pooled, int) and isinstance(size, int) and abs(pooled - size) >= self.pool_size:
                raise ValueError(
                    f"{self.name}: unpooling by {self.pool_size} gives {pooled} pixels, but `like` has {size}: pass "
                    "the tensor that was pooled"
                )
        return (batch, *like_shape[1:3], channels)

    def compute_output_spec(self, x: Any, argmax: Any, like: Any = None) -> Any:
        shape = self.compute_output_shape(x.shape, like_shape=None if like is None else like.shape)
        return keras.KerasTensor(shape, dtype=x.dtype)

    def reach(self, x: Reach, argmax: Reach, like: Reach | None = None) -> Reach:
        return Reach(max(x.pixels, argmax.pixels), like.step if like else x.step / self.pool_size)
