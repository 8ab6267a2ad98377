"""Attention: weights for channels and for pixels, computed from the features themselves."""

import math
from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import Conv2D
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="kseg")
class SqueezeExcitation(ConfiguredLayer):
    """Compute a weight from 0 to 1 for each channel from the means of all channels.

    Args:
        reduction: Ratio of the number of channels to that of the hidden layer, which has at least one.
        hidden: Number of channels of the hidden layer; None computes it from `reduction`.
        activation: Activation of the weights, `"sigmoid"` or `"hard_sigmoid"`.
        hidden_activation: Name of the activation of the hidden layer.

    Returns:
        The weights, `(N, 1, 1, C)`; multiply the features by them.

    Reference:
        Hu et al., Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507

    Example:
        >>> import numpy as np
        >>> tuple(SqueezeExcitation()(np.zeros((2, 5, 7, 32), "float32")).shape)
        (2, 1, 1, 32)
    """

    def __init__(
        self,
        reduction: int = 16,
        *,
        hidden: int | None = None,
        activation: str = "sigmoid",
        hidden_activation: str = "relu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reduction = reduction
        self.hidden = hidden
        self.activation = activation
        self.hidden_activation = hidden_activation

    def build(self, x_shape: Shape) -> None:
        channels = x_shape[-1] or 0
        hidden = self.hidden or max(1, channels // self.reduction)
        self.squeeze = pointwise(self, hidden, "squeeze", activation=self.hidden_activation)
        self.excite = pointwise(self, channels, "excite", activation=self.activation)
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))

    def call(self, x: Any) -> Any:
        return self.excite(self.squeeze(mean_of(x)))

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (x_shape[0], 1, 1, x_shape[-1])

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class ChannelSpatialExcitation(ConfiguredLayer):
    """Weight the channels and the pixels of features (scSE), and add both results.

    Args:
        reduction: As in `SqueezeExcitation`.

    Returns:
        `(N, H, W, C)`.

    Reference:
        Roy et al., Recalibrating Fully Convolutional Networks with Spatial and Channel Squeeze & Excitation Blocks,
        https://arxiv.org/abs/1808.08127

    Example:
        >>> import numpy as np
        >>> tuple(ChannelSpatialExcitation()(np.zeros((2, 5, 7, 32), "float32")).shape)
        (2, 5, 7, 32)
    """

    def __init__(self, reduction: int = 16, **kwargs: Any):
        super().__init__(**kwargs)
        self.reduction = reduction
        self.channel = SqueezeExcitation(reduction, dtype=self.dtype_policy, name="channel")
        self.spatial = pointwise(self, 1, "spatial", activation="sigmoid")

    def build(self, x_shape: Shape) -> None:
        self.channel.build(x_shape)
        self.spatial.build(x_shape)

    def call(self, x: Any) -> Any:
        return x * (self.channel(x) + self.spatial(x))

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class PositionAttention(ConfiguredLayer):
    """Add to each pixel a mean of the features of all pixels, weighted by similarity (the PAB of MA-Net).

    Memory grows with the square of the number of pixels, so this suits coarse features.

    Args:
        filters: Number of channels in which pixels are compared.
        interleaved: False computes one softmax per pixel. True computes what segmentation-models-pytorch does, whose
            weights need it: one softmax over all pairs of pixels, and a result `(H * W, C)` that is read in the order
            of memory as `(C, H, W)`.

    Returns:
        `(N, H, W, C)`.

    Reference:
        Fan et al., MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation, 2020,
        https://ieeexplore.ieee.org/document/9201310

    Example:
        >>> import numpy as np
        >>> tuple(PositionAttention(filters=4)(np.zeros((2, 5, 7, 8), "float32")).shape)
        (2, 5, 7, 8)
    """

    def __init__(self, filters: int = 64, *, interleaved: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.interleaved = interleaved
        self.query = pointwise(self, filters, "query")
        self.key = pointwise(self, filters, "key")

    def build(self, x_shape: Shape) -> None:
        self.value = pointwise(self, x_shape[-1] or 0, "value", kernel_size=3)
        self.output_conv = pointwise(self, x_shape[-1] or 0, "output", kernel_size=3)
        for layer in (self.query, self.key, self.value, self.output_conv):
            layer.build(x_shape)

    def call(self, x: Any) -> Any:
        count, height, width, channels = ops.shape(x)
        query, key, value = (
            ops.reshape(layer(x), (count, height * width, -1)) for layer in (self.query, self.key, self.value)
        )
        scores = ops.cast(ops.matmul(query, ops.transpose(key, (0, 2, 1))), "float32")  # one row per query
        if self.interleaved:
            weights = ops.reshape(ops.softmax(ops.reshape(scores, (count, -1))), ops.shape(scores))
        else:
            weights = ops.softmax(scores)
        y = ops.matmul(ops.cast(weights, value.dtype), value)
        if self.interleaved:
            y = ops.transpose(ops.reshape(y, (count, channels, height, width)), (0, 2, 3, 1))
        return self.output_conv(x + ops.reshape(y, ops.shape(x)))

    def products(self, shape: Shape) -> int:
        """Counts the multiplications between features for an input of this shape, for `kseg.zoo.multiply_adds`."""
        return math.prod(side or 1 for side in shape[1:3]) ** 2 * (self.filters + (shape[-1] or 0))

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


def mean_of(x: Any) -> Any:
    """The mean over the pixels, `(N, 1, 1, C)`, in float32, because the sum over a large map overflows float16."""
    return ops.cast(ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True), x.dtype)


def pointwise(layer: Any, filters: int, name: str, *, kernel_size: int = 1, activation: Any = None) -> Conv2D:
    """A convolution inside a layer, with a bias."""
    return Conv2D(
        filters,
        kernel_size,
        padding="same",
        activation=activation,
        data_format="channels_last",
        dtype=layer.dtype_policy,
        name=name,
    )
