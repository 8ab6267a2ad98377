"""A convolution behind normalization and activation, in the order of pre-activation networks."""

from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import Conv2D
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.normalization import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization


@keras.saving.register_keras_serializable(package="kseg")
class NormActConv(ConfiguredLayer):
    """Batch normalization, ReLU, convolution with padding "same".

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel.
        groups: Number of groups of channels that are convolved separately.

    Returns:
        `(N, H, W, filters)`.

    Reference:
        He et al., Identity Mappings in Deep Residual Networks, https://arxiv.org/abs/1603.05027

    Example:
        >>> import numpy as np
        >>> tuple(NormActConv(8)(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 8)
    """

    def __init__(self, filters: int, kernel_size: int = 3, *, groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.norm = BatchNormalization(
            axis=-1, momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, dtype=self.dtype_policy, name="norm"
        )
        self.conv = Conv2D(
            filters,
            kernel_size,
            padding="same",
            groups=groups,
            use_bias=False,
            kernel_initializer="he_normal",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, x_shape: Shape) -> None:
        self.norm.build(x_shape)
        self.conv.build(x_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.conv(ops.relu(self.norm(x, training=training)))

    def compute_output_shape(self, x_shape: Shape) -> Any:
        return self.conv.compute_output_shape(x_shape)

    def reach(self, x: Reach) -> Reach:
        return x.window(self.kernel_size)
