"""Means of 2x2 pixels (ResNet-D), over grids of different sizes (PSPNet), and a pyramid of halved features (PAN)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.attention import mean_of
from kseg.layers.convolution import ConvNormAct
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize


@keras.saving.register_keras_serializable(package="kseg")
class HalvingMean2D(keras.layers.Layer):
    """Averages 2x2 pixels with stride 2; at the far border of odd sizes, those that exist.

    `keras.layers.AveragePooling2D(2, padding="same")` does the same, except on PyTorch in Keras 3.15.

    Returns:
        `(N, ceil(H / 2), ceil(W / 2), C)`.

    Example:
        >>> image = ops.reshape(ops.arange(9.0), (1, 3, 3, 1))
        >>> ops.convert_to_numpy(HalvingMean2D()(image))[0, :, :, 0].tolist()
        [[2.0, 3.5], [6.5, 8.0]]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def call(self, x: Any) -> Any:
        if keras.backend.backend() != "torch":
            return ops.average_pool(x, 2, 2, "same", data_format="channels_last")
        from torch.nn import functional

        x = x.permute(0, 3, 1, 2)
        return functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False).permute(0, 2, 3, 1)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        count, *sides, channels = x_shape
        return (count, *(side and -(-side // 2) for side in sides), channels)

    def reach(self, x: Reach) -> Reach:
        return x.window(2, stride=2)


@keras.saving.register_keras_serializable(package="kseg")
class PyramidPooling(ConfiguredLayer):
    """Pyramid pooling of PSPNet: features averaged over the cells of several grids, and upsampled again.

    Each grid has its 1x1 convolution with batch normalization and ReLU. By default, the grid of one cell has a bias
    instead of batch normalization, because the statistics of one value per image are useless with small batches.

    Args:
        filters: Number of channels of each grid.
        bins: Number of cells of the grids along each side. The cells overlap by a pixel where the size is not a
            multiple.
        normalization: Whether to apply batch normalization.
        normalize_one: Whether to apply it to the grid of one cell too.
        align_corners: Whether to upsample with aligned corners, see `Resize`.

    Returns:
        `(N, H, W, filters * len(bins))`; concatenate it with the features.

    Reference:
        Zhao et al., Pyramid Scene Parsing Network, https://arxiv.org/abs/1612.01105

    Example:
        >>> import numpy as np
        >>> tuple(PyramidPooling(filters=4, bins=(1, 2))(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 8)
    """

    def __init__(
        self,
        filters: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        *,
        normalization: bool = True,
        normalize_one: bool = False,
        align_corners: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.bins = tuple(bins)
        self.normalization = normalization
        self.normalize_one = normalize_one
        self.align_corners = align_corners
        self.branches = [
            ConvNormAct(
                filters,
                1,
                normalization=normalization and (count > 1 or normalize_one),
                dtype=self.dtype_policy,
                name=f"branch_{index}",
            )
            for index, count in enumerate(self.bins, start=1)
        ]
        self.enlarge = Resize(align_corners=align_corners, dtype=self.dtype_policy, name="enlarge")

    def build(self, x_shape: Shape) -> None:
        for branch in self.branches:
            branch.build(x_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        maps = []
        for count, branch in zip(self.bins, self.branches, strict=True):
            y = branch(ops.cast(_grid_means(x, count, count), x.dtype), training=training)
            maps.append(self.enlarge(y, like=x))
        return ops.concatenate(maps, axis=-1)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.filters * len(self.bins))

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class GridMeans(ConfiguredLayer):
    """Means over the cells of a grid whose columns are in proportion to the width, so that cells are nearly square.

    Args:
        rows: Number of rows of the grid. The number of columns is `rows * W / H`, rounded, and at least 1. Cells
            overlap by a pixel where the size is not a multiple.

    Returns:
        `(N, rows, columns, C)`.

    Reference:
        Kreso, Causevic, Krapac, Segvic: Convolutional Scale Invariance for Semantic Segmentation, 2016, and Orsic et
        al., 2019, https://arxiv.org/abs/1903.08469

    Example:
        >>> import numpy as np
        >>> tuple(GridMeans(2)(np.zeros((1, 12, 17, 3), "float32")).shape)
        (1, 2, 3, 3)
    """

    def __init__(self, rows: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.rows = rows
        self.built = True  # it has no weights

    def call(self, x: Any) -> Any:
        height, width = ops.shape(x)[1:3]
        return ops.cast(_grid_means(x, self.rows, _proportional(self.rows * width, height)), x.dtype)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        count, height, width, channels = x_shape
        columns = None if height is None or width is None else _proportional(self.rows * width, height)
        return (count, self.rows, columns, channels)

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class FeaturePyramidAttention(ConfiguredLayer):
    """Feature pyramid attention of PAN: features times a map from three halvings of them, plus their mean.

    Convolutions of 7x7, 5x5 and 3x3 see the features halved once, twice and three times, and compute one channel each.

    Args:
        filters: Number of channels of the output.
        align_corners: Whether to upsample with aligned corners, see `Resize`.

    Returns:
        `(N, H, W, filters)`.

    Reference:
        Li et al., Pyramid Attention Network for Semantic Segmentation, https://arxiv.org/abs/1805.10180

    Example:
        >>> import numpy as np
        >>> tuple(FeaturePyramidAttention(filters=4)(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 4)
    """

    def __init__(self, filters: int, *, align_corners: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.align_corners = align_corners

        def conv(name: str, filters: int, kernel_size: int) -> ConvNormAct:
            return ConvNormAct(filters, kernel_size, use_bias=True, dtype=self.dtype_policy, name=name)

        self.image, self.middle = conv("image", filters, 1), conv("middle", filters, 1)
        self.down = [conv(f"down{level}", 1, size) for level, size in ((1, 7), (2, 5), (3, 3))]
        self.across = [conv(f"across{level}", 1, size) for level, size in ((1, 7), (2, 5), (3, 3))]
        self.enlarge = Resize(align_corners=align_corners, dtype=self.dtype_policy, name="enlarge")

    def build(self, x_shape: Shape) -> None:
        for layer in (self.image, self.middle, self.down[0]):
            layer.build(x_shape)
        for layer in (*self.down[1:], *self.across):
            layer.build((None, None, None, 1))

    def call(self, x: Any, training: bool | None = None) -> Any:
        levels, y = [x], x
        for down, across in zip(self.down, self.across, strict=True):
            y = down(_halved(y), training=training)
            levels.append(across(y, training=training))
        *finer, y = levels
        for level in reversed(finer[1:]):
            y = level + self.enlarge(y, like=level)
        attention = self.enlarge(y, like=x)
        return attention * self.middle(x, training=training) + self.image(mean_of(x), training=training)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.filters)

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


def _grid_means(x: Any, rows: Any, columns: Any) -> Any:
    """The means over a grid of `rows` x `columns` cells, in float32."""
    height, width = ops.shape(x)[1:3]
    x = ops.cast(x, "float32")
    x = ops.einsum("ih,nhwc->niwc", _cells(height, rows), x)
    return ops.einsum("jw,niwc->nijc", _cells(width, columns), x)


def _cells(size: Any, count: Any) -> Any:
    """The matrix `(count, size)` that averages the pixels of each cell; cells contain every pixel that they touch."""
    cell, pixel = ops.arange(count, dtype="int32")[:, None], ops.arange(size, dtype="int32")[None]
    start, end = cell * size // count, ((cell + 1) * size + count - 1) // count
    return ops.cast((pixel >= start) & (pixel < end), "float32") / ops.cast(end - start, "float32")


def _proportional(numerator: Any, denominator: Any) -> Any:
    """The quotient, rounded as by Python (halves to even numbers), and at least 1."""
    whole, twice = numerator // denominator, 2 * (numerator % denominator)
    if isinstance(whole, int):
        return max(whole + (twice > denominator or (twice == denominator and whole % 2 == 1)), 1)
    up = (twice > denominator) | ((twice == denominator) & (whole % 2 == 1))
    return ops.maximum(whole + ops.cast(up, whole.dtype), 1)


def _halved(x: Any) -> Any:
    """Pools the maxima of 2x2 pixels. Odd sizes are rounded down, but never below 1."""
    height, width = ops.shape(x)[1:3]
    x = ops.max_pool(x, 2, 2, "same", data_format="channels_last")
    return x[:, : _half(height), : _half(width)]


def _half(size: Any) -> Any:
    return max(size // 2, 1) if isinstance(size, int) else ops.maximum(size // 2, 1)
