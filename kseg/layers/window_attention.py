"""Self-attention within windows, and the merging of patches between the stages of Swin Transformers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer

APART = -100.0
"""Added to the scores of two pixels that are neighbors only after the cyclic shift, as in published models."""


@keras.saving.register_keras_serializable(package="kseg")
class WindowAttention(ConfiguredLayer):
    """Multi-head attention from every pixel to the pixels of its window, with a bias for each relative position.

    The map is divided into square windows, from its top left corner. Rows and columns of zeros complete the windows at
    the bottom and at the right; attention includes them, as in published models. With a shift, all windows begin that
    many pixels further down and right; the pixels before them form smaller windows.

    Memory grows with the number of pixels, not with its square. The scores and the biases are arrays of `heads *
    window**2` numbers per pixel: 39 MB for each image of 1024x1024 in the first stage of Swin-T (256x256 pixels,
    completed to 259x259, 3 heads, windows of 7x7).

    Args:
        heads: Number of heads, a divisor of the number of channels.
        window: Side of the windows.
        shift: Number of pixels by which the windows are shifted, less than `window`.

    Returns:
        A tensor of the shape of the input, `(N, H, W, C)`.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads.

    Reference:
        Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
        https://arxiv.org/abs/2103.14030

    Example:
        >>> tuple(WindowAttention(2, window=3, shift=1)(ops.zeros((1, 5, 7, 8))).shape)
        (1, 5, 7, 8)
    """

    def __init__(self, heads: int, *, window: int = 7, shift: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads
        self.window = window
        self.shift = shift

    def build(self, x_shape: Shape) -> None:
        channels = x_shape[-1] or 0
        if channels % self.heads:
            raise ValueError(f"{self.name}: {channels} channels cannot be divided among {self.heads} heads")

        def dense(name: str) -> Any:
            layer = keras.layers.Dense(channels, dtype=self.dtype_policy, name=name)
            layer.build((None, None, None, channels))
            return layer

        self.query, self.key, self.value, self.out = map(dense, ("query", "key", "value", "out"))
        self.position_bias = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.heads), initializer="zeros", name="position_bias"
        )

    def call(self, x: Any) -> Any:
        count, height, width, channels = ops.shape(x)
        side, area = self.window, self.window**2
        rows, columns = (-(-size // side) for size in (height, width))
        x = _completed(x, side, rows * side, columns * side)
        x = _rolled(x, self.shift)
        x = ops.transpose(ops.reshape(x, (count, rows, side, columns, side, channels)), (0, 2, 4, 1, 3, 5))
        x = ops.reshape(x, (count, area, rows * columns, channels))
        # Each head of each window is a head of `dot_product_attention`, so that the biases are the same for all images.
        heads = (count, area, rows * columns * self.heads, channels // self.heads)
        query, key, value = (ops.reshape(f(x), heads) for f in (self.query, self.key, self.value))
        x = ops.dot_product_attention(query, key, value, bias=self._biases(rows, columns))
        x = ops.transpose(ops.reshape(x, (count, side, side, rows, columns, channels)), (0, 3, 1, 4, 2, 5))
        x = ops.reshape(x, (count, rows * side, columns * side, channels))
        return self.out(_rolled(x, -self.shift)[:, :height, :width])

    def products(self, shape: Shape) -> int:
        """Counts the multiplications between features for an input of this shape, for `kseg.zoo.multiply_adds`."""
        rows, columns = (-(-(size or 1) // self.window) for size in shape[1:3])
        return 2 * rows * columns * self.window**4 * (shape[-1] or 0)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        # What a pixel depends on before this layer may touch one window more on each side.
        return x.window(2 * self.window - 1)

    def _biases(self, rows: Any, columns: Any) -> Any:
        """The biases of all heads of all windows, `(1, rows * columns * heads, window ** 2, window ** 2)`."""
        area = self.window**2
        positions = ops.take(ops.convert_to_tensor(self.position_bias), _relative_positions(self.window), axis=0)
        biases = ops.transpose(ops.reshape(positions, (area, area, self.heads)), (2, 0, 1))[None]
        windows = ops.zeros((rows * columns, 1, 1, 1), dtype=biases.dtype)
        if self.shift:
            region = self._regions(rows)[:, None] * 3 + self._regions(columns)[None]
            region = ops.transpose(ops.reshape(region, (rows, self.window, columns, self.window)), (0, 2, 1, 3))
            region = ops.reshape(region, (rows * columns, 1, area))
            together = region[..., None] == region[..., None, :]
            windows = ops.where(together, 0.0, APART)
        biases = ops.cast(biases + ops.cast(windows, biases.dtype), self.compute_dtype)
        return ops.reshape(biases, (1, rows * columns * self.heads, area, area))

    def _regions(self, count: Any) -> Any:
        """Numbers the rows of all windows by the part of the map from which the shift has brought them."""
        size = count * self.window
        row = ops.arange(size, dtype="int32")
        return ops.cast(row >= size - self.window, "int32") + ops.cast(row >= size - self.shift, "int32")


@keras.saving.register_keras_serializable(package="kseg")
class SpaceToDepth(ConfiguredLayer):
    """Concatenate the channels of 2x2 neighboring pixels: the upper left, lower left, upper right and lower right one.

    Odd sizes are extended by zeros.

    Returns:
        `(N, ceil(H / 2), ceil(W / 2), 4 * C)`.

    Example:
        >>> image = ops.reshape(ops.arange(4), (1, 2, 2, 1))
        >>> ops.convert_to_numpy(SpaceToDepth()(image)).ravel().tolist()
        [0, 2, 1, 3]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def call(self, x: Any) -> Any:
        rows, columns = ((size + 1) // 2 for size in ops.shape(x)[1:3])
        x = ops.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]])
        parts = [x[:, row::2, column::2][:, :rows, :columns] for column in (0, 1) for row in (0, 1)]
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        count, *size, channels = x_shape
        halves = (None if side is None else -(-side // 2) for side in size)
        return (count, *halves, None if channels is None else 4 * channels)

    def reach(self, x: Reach) -> Reach:
        return x.window(2, stride=2)


def _relative_positions(side: int) -> np.ndarray:
    """The position of each pixel of a window relative to each, one row per pixel, numbered; flat."""
    row, column = (axis.ravel() for axis in np.indices((side, side)))
    down, right = (axis[:, None] - axis[None] + side - 1 for axis in (row, column))
    return (down * (2 * side - 1) + right).ravel().astype("int32")


def _completed(x: Any, side: int, height: Any, width: Any) -> Any:
    """Appends rows and columns of zeros, fewer than `side`."""
    sizes = ops.shape(x)[1:3]
    if all(isinstance(size, int) for size in sizes):
        down, right = height - sizes[0], width - sizes[1]
        return ops.pad(x, [[0, 0], [0, down], [0, right], [0, 0]]) if down or right else x
    return ops.pad(x, [[0, 0], [0, side - 1], [0, side - 1], [0, 0]])[:, :height, :width]


def _rolled(x: Any, shift: int) -> Any:
    """Moves the first `shift` rows and columns to the end; the last ones to the beginning if `shift` is negative."""
    for axis in (1, 2) if shift else ():
        first, last = _cut(x, shift, axis)
        x = ops.concatenate([last, first], axis=axis)
    return x


def _cut(x: Any, at: int, axis: int) -> Sequence[Any]:
    return (x[:, :at], x[:, at:]) if axis == 1 else (x[:, :, :at], x[:, :, at:])
