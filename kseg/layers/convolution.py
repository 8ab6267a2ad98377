"""Convolution, batch normalisation, activation: the brick of every decoder."""

from typing import Any

import keras

# Keras's own momentum of 0.99 needs about 500 steps until the moving averages are worth evaluating with; trainings here
# may be shorter. These are PyTorch's defaults (momentum 0.1 in its terms), with which most published nets were trained.
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="kseg")
class ConvNormAct(keras.layers.Layer):
    """A convolution, then batch normalisation, then an activation.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel.
        strides: step of the kernel.
        dilation_rate: distance of the kernel's taps; not with strides above 1.
        padding: "same" or "valid".
        separable: a depthwise convolution, then a 1x1, instead of one over all channels.
        normalization: False leaves batch normalisation out.
        activation: name of a Keras activation, a function, or None.
        use_bias: whether the convolution has a bias; unless given, only where no normalisation follows.

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

    def build(self, x_shape):
        if self.separable:
            self.depthwise.build(x_shape)
            x_shape = self.depthwise.compute_output_shape(x_shape)
        self.conv.build(x_shape)
        if self.normalization:
            self.norm.build(self.conv.compute_output_shape(x_shape))

    def call(self, x, training=None):
        x = self.conv(self.depthwise(x) if self.separable else x)
        if self.normalization:
            x = self.norm(x, training=training)
        return self.activation(x)

    def compute_output_shape(self, x_shape):
        if self.separable:
            x_shape = self.depthwise.compute_output_shape(x_shape)
        return self.conv.compute_output_shape(x_shape)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
            "separable": self.separable,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }
