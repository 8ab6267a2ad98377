"""Self-attention within windows, and the merging of patches between the stages of Swin Transformers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.self_attention import attend, projections

APART = -100.0
"""Added to the scores of two pixels that are neighbors only after the cyclic shift, as in published models."""


@keras.saving.register_keras_serializable(package="kseg")
class WindowAttention(ConfiguredLayer):
    """Multi-head attention from every pixel to the pixels of its window, with a bias for each relative position.

    The map is divided into square windows, from its top left corner. Rows and columns of zeros complete the windows at
    the bottom and at the right; attention includes them, as in published models. With a shift, all windows begin that
    many pixels further down and right; the pixels before them form smaller windows.

    Memory grows with the number of pixels, not with its square: the scores, and with a shift the biases, are `heads *
    window**2` numbers per pixel.

    Args:
        heads: Number of heads, a divisor of the number of channels.
        window: Side of the windows.
        shift: Number of pixels by which the windows are shifted, less than `window`.
        always_shift: Whether to shift along a side that is covered by one window, too, as the backbone of transformers
            does; the networks of torchvision and timm do not.

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

    def __init__(self, heads: int, *, window: int = 7, shift: int = 0, always_shift: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads
        self.window = window
        self.shift = shift
        self.always_shift = always_shift

    def build(self, x_shape: Shape) -> None:
        self.query, self.key, self.value, self.out = projections(self, x_shape[-1] or 0, self.heads)
        self.position_bias = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.heads), initializer="zeros", name="position_bias"
        )

    def call(self, x: Any) -> Any:
        count, height, width, channels = ops.shape(x)
        side = self.window
        rows, columns = ((size + side - 1) // side for size in (height, width))  # as ONNX divides, towards zero
        shifts = self._shift(rows), self._shift(columns)
        x = _rolled(_completed(x, side, rows * side, columns * side), shifts)
        x = ops.reshape(x, (count, rows, side, columns, side, channels))
        length, split = side**2, (self.heads, channels // self.heads)
        if self.shift:  # the biases of windows differ: windows become heads, so that all images have the same biases
            x = ops.reshape(ops.transpose(x, (0, 2, 4, 1, 3, 5)), (count, length, rows * columns, channels))
            shape = (count, length, rows * columns * split[0], split[1])
            bias = self._shifted_bias(rows, columns, shifts)
        else:  # windows become images
            x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (count * rows * columns, length, channels))
            shape = (count * rows * columns, length, *split)
            bias = self._bias()
        query, key, value = (ops.reshape(f(x), shape) for f in (self.query, self.key, self.value))
        x = attend(query, key, value, ops.cast(bias, self.compute_dtype))
        if self.shift:
            x = ops.transpose(ops.reshape(x, (count, side, side, rows, columns, channels)), (0, 3, 1, 4, 2, 5))
        else:
            x = ops.transpose(ops.reshape(x, (count, rows, columns, side, side, channels)), (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (count, rows * side, columns * side, channels))
        x = _rolled(x, [-shift for shift in shifts])
        return self.out(x[:, :height, :width])

    def products(self, shape: Shape) -> int:
        """Counts the multiplications between features for an input of this shape, for `kseg.zoo.multiply_adds`."""
        rows, columns = (-(-(size or 1) // self.window) for size in shape[1:3])
        return 2 * rows * columns * self.window**4 * (shape[-1] or 0)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return x.window(2 * self.window - 1)  # the window of a pixel lies within `window - 1` pixels of it

    def _shift(self, windows: Any) -> Any:
        """The shift along a side that this number of windows covers."""
        if self.always_shift or not self.shift:
            return self.shift
        if isinstance(windows, int):
            return self.shift if windows > 1 else 0
        return ops.where(windows > 1, self.shift, 0)

    def _bias(self) -> Any:
        """The bias for two pixels of a window, `(1, heads, window ** 2, window ** 2)`."""
        area = self.window**2
        positions = ops.take(ops.convert_to_tensor(self.position_bias), _relative_positions(self.window), axis=0)
        return ops.transpose(ops.reshape(positions, (area, area, self.heads)), (2, 0, 1))[None]

    def _shifted_bias(self, rows: Any, columns: Any, shifts: tuple[Any, Any]) -> Any:
        """The biases in all windows, `(1, rows * columns * heads, window ** 2, window ** 2)`."""
        area = self.window**2
        down, right = (self._regions(*each) for each in zip((rows, columns), shifts, strict=True))
        region = ops.reshape(down[:, None] * 3 + right[None], (rows, self.window, columns, self.window))
        region = ops.reshape(ops.transpose(region, (0, 2, 1, 3)), (rows * columns, 1, area))
        apart = ops.where(region[..., None] == region[..., None, :], 0.0, APART)
        biases = self._bias() + ops.cast(apart, self.position_bias.dtype)
        return ops.reshape(biases, (1, rows * columns * self.heads, area, area))

    def _regions(self, windows: Any, shift: Any) -> Any:
        """Numbers the rows of all windows by the part of the map from which the shift has brought them."""
        size = windows * self.window
        row = ops.arange(size, dtype="int32")
        return ops.cast(row >= size - self.window, "int32") + ops.cast(row >= size - shift, "int32")


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

    def __init__(self, **kwargs: Any):  # without the *args of Keras, so that the signature lists the configuration
        super().__init__(**kwargs)

    def call(self, x: Any) -> Any:
        count, height, width, channels = ops.shape(x)
        rows, columns = (height + 1) // 2, (width + 1) // 2
        x = ops.reshape(_completed(x, 2, 2 * rows, 2 * columns), (count, rows, 2, columns, 2, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 4, 2, 5)), (count, rows, columns, 4 * channels))

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


def _rolled(x: Any, shifts: Sequence[Any]) -> Any:
    """Moves the first rows and columns to the end, or the last ones to the beginning if a shift is negative."""
    down, right = shifts
    if not (isinstance(down, int) and down == 0):
        x = ops.concatenate([x[:, down:], x[:, :down]], axis=1)
    if not (isinstance(right, int) and right == 0):
        x = ops.concatenate([x[:, :, right:], x[:, :, :right]], axis=2)
    return x
