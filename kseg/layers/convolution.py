"""Convolution, batch normalization and activation in one layer."""

from typing import Any

import keras

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer

# With Keras's momentum of 0.99 the moving averages are usable only after about 500 steps, and training may be shorter.
# These are PyTorch's defaults (there the momentum is called 0.1), with which most published models were trained.
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="kseg")
class ConvNormAct(ConfiguredLayer):
    """Convolution, batch normalization, activation.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel.
        strides: Stride of the convolution.
        dilation_rate: Dilation rate of the convolution; above 1 only with `strides=1`.
        padding: "same" or "valid".
        separable: Whether to use a depthwise convolution followed by a 1x1 convolution.
        normalization: Whether to apply batch normalization.
        activation: Name of a Keras activation, a function, or None.
        use_bias: Whether the convolution has a bias. None adds one if there is no normalization.

    Returns:
        `(N, ceil(H / strides), ceil(W / strides), filters)` with padding "same".

    Example:
        >>> import numpy as np
        >>> tuple(ConvNormAct(8, strides=2)(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 3, 4, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "same",
        separable: bool = False,
        normalization: bool = True,
        activation: Any = "relu",
        use_bias: bool | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.separable = separable
        self.normalization = normalization
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        spatial: dict[str, Any] = {"strides": strides, "dilation_rate": dilation_rate, "padding": padding}
        if separable:
            self.depthwise = keras.layers.DepthwiseConv2D(
                kernel_size,
                **spatial,
                use_bias=False,
                depthwise_initializer="he_normal",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name="depthwise",
            )
        self.conv = keras.layers.Conv2D(
            filters,
            1 if separable else kernel_size,
            **({} if separable else spatial),
            use_bias=not normalization if use_bias is None else use_bias,
            kernel_initializer="he_normal",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="conv",
        )
        if normalization:
            self.norm = keras.layers.BatchNormalization(
                axis=-1, momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, dtype=self.dtype_policy, name="norm"
            )

    def build(self, x_shape: Shape) -> None:
        if self.separable:
            self.depthwise.build(x_shape)
            x_shape = self.depthwise.compute_output_shape(x_shape)
        self.conv.build(x_shape)
        if self.normalization:
            self.norm.build(self.conv.compute_output_shape(x_shape))

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.conv(self.depthwise(x) if self.separable else x)
        if self.normalization:
            x = self.norm(x, training=training)
        return self.activation(x)

    def compute_output_shape(self, x_shape: Shape) -> Any:
        if self.separable:
            x_shape = self.depthwise.compute_output_shape(x_shape)
        return self.conv.compute_output_shape(x_shape)

    def reach(self, x: Reach) -> Reach:
        return x.window(self.kernel_size, rate=self.dilation_rate, stride=self.strides)
