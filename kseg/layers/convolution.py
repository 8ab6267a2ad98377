"""Convolutions with the fast operations of the backend, and a convolution with normalization and activation."""

from typing import Any

import keras
from keras import ops

from kseg.layers import depthwise, grouped
from kseg.layers.doubled import doubled_convolution
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.normalization import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization
from kseg.layers.tracing import is_single_operation


@keras.saving.register_keras_serializable(package="kseg")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with the same arguments, weights and results, faster on PyTorch and TensorFlow.

    On PyTorch, Keras copies each activation to change the order of its axes, but the convolution also takes a view. On
    TensorFlow, Keras adds the bias by an operation that the graph optimizer does not fuse with the convolution, and
    computes a dilated convolution in pieces, which is not necessary without gradients (`single_operation`). On all
    backends, taps of a dilated kernel that meet only padding are left out. Grouped convolutions become dense ones where
    those are faster, see `kseg.layers.grouped`.

    Example:
        >>> import numpy as np
        >>> tuple(Conv2D(8, 3, padding="same")(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 8)
    """

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if keras.backend.backend() == "torch":
            _order_for_torch(self.kernel)

    def call(self, inputs: Any) -> Any:
        return self._convolve(inputs, self.kernel) if self.data_format == "channels_last" else super().call(inputs)

    def doubled(self, x: Any, skip: Any = None) -> Any:
        """Enlarges `x` to twice its size by copying pixels, appends `skip`, and convolves; see `doubled_convolution`.

        Raises:
            ValueError: If the layer is not a plain 3x3 convolution with padding "same", without activation.
        """
        plain = (self.kernel_size, self.strides, self.dilation_rate, self.padding) == ((3, 3), (1, 1), (1, 1), "same")
        if not plain or self.activation not in (None, keras.activations.linear) or self.groups > 1:
            raise ValueError(f'{self.name}: doubled needs a 3x3 convolution with padding "same" and no activation')
        channels = x.shape[-1]
        y = doubled_convolution(x, self.kernel[:, :, :channels])
        if skip is not None:
            return y + self._convolve(skip, self.kernel[:, :, channels:])
        return y + self.bias if self.use_bias else y

    def _convolve(self, inputs: Any, kernel: Any) -> Any:
        kernel, rates = _met_taps(self, inputs.shape, kernel)
        if keras.backend.backend() == "torch":
            return _torch_convolution(self, inputs, kernel, rates)

        def convolve(x: Any, kernel: Any) -> Any:
            if keras.backend.backend() == "tensorflow" and max(rates) > 1 and is_single_operation():
                import tensorflow

                around = [0, 0]
                if self.padding == "same":
                    around = [(taps - 1) * rate for taps, rate in zip(kernel.shape[:2], rates, strict=True)]
                sides = [
                    [0, 0],
                    *([total // 2, total - total // 2] for total in around),
                    [0, 0],
                ]  # ONNX Runtime's terms
                kernel = ops.convert_to_tensor(kernel)
                return tensorflow.nn.conv2d(x, kernel, self.strides, sides, dilations=rates)
            return ops.conv(x, kernel, self.strides, self.padding, self.data_format, rates)

        if self.groups > 1 and grouped.is_faster():
            return _finished(self, grouped.grouped_convolution(convolve, inputs, kernel, self.groups))
        return _finished(self, convolve(inputs, kernel))

    def reach(self, x: Reach) -> Reach:
        return x.window(self.kernel_size[0], rate=self.dilation_rate[0], stride=self.strides[0])


@keras.saving.register_keras_serializable(package="kseg")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with the same arguments, weights and results, but faster.

    On PyTorch and TensorFlow, the reasons are those of `Conv2D`. On JAX on a CPU, the result is a sum of shifted
    images, one for each tap of the kernel. On TensorFlow on a CPU, bfloat16 is converted to float32 and back, because
    the gradients have no fast program in bfloat16 (`python -m benchmarks precision`).

    Example:
        >>> import numpy as np
        >>> tuple(DepthwiseConv2D(3, strides=2, padding="same")(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 3, 4, 3)
    """

    def call(self, inputs: Any) -> Any:
        if self.data_format != "channels_last":
            return super().call(inputs)
        kernel, rates = _met_taps(self, inputs.shape, self.kernel)
        if keras.backend.backend() == "torch":
            return _torch_convolution(self, inputs, ops.reshape(kernel, (*kernel.shape[:2], 1, -1)), rates)
        if keras.backend.backend() == "jax" and depthwise.is_faster(inputs):
            x = depthwise.depthwise_convolution(inputs, kernel, self.strides, rates, self.padding)
        else:
            dtype = "float32" if _is_slow_in_bfloat16(inputs) else inputs.dtype
            x, kernel = ops.cast(inputs, dtype), ops.cast(kernel, dtype)
            x = ops.depthwise_conv(x, kernel, self.strides, self.padding, self.data_format, rates)
            x = ops.cast(x, inputs.dtype)
        return _finished(self, x)

    def reach(self, x: Reach) -> Reach:
        return x.window(self.kernel_size[0], rate=self.dilation_rate[0], stride=self.strides[0])


def _is_slow_in_bfloat16(x: Any) -> bool:
    if keras.backend.backend() != "tensorflow" or keras.backend.standardize_dtype(x.dtype) != "bfloat16":
        return False
    import tensorflow

    return not tensorflow.config.list_logical_devices("GPU")


def _met_taps(layer: Any, shape: Shape, kernel: Any) -> tuple[Any, tuple[int, int]]:
    """Returns the kernel without taps that meet only the padding of small features, and the dilation rates.

    At a rate of 24, only the center of a 3x3 kernel meets features of 16x20. DeepLab's rates are as large in training.
    """
    rates = list(layer.dilation_rate)
    for axis, (size, taps, rate) in enumerate(zip(shape[1:3], kernel.shape[:2], layer.dilation_rate, strict=True)):
        half, plain = taps // 2, layer.padding == "same" and layer.strides[axis] == 1 and taps % 2
        if plain and size is not None and (met := (size - 1) // rate) < half:
            kept = slice(half - met, half + met + 1)
            kernel = kernel[kept] if axis == 0 else kernel[:, kept]
            rates[axis] = rate if met else 1
    return kernel, (rates[0], rates[1])


def _finished(layer: Any, x: Any) -> Any:
    if layer.use_bias and keras.backend.backend() == "tensorflow":
        import tensorflow

        x = tensorflow.nn.bias_add(x, ops.convert_to_tensor(layer.bias))
    elif layer.use_bias:
        x = x + ops.convert_to_tensor(layer.bias)
    return x if layer.activation is None else layer.activation(x)


def _order_for_torch(kernel: Any) -> None:
    """Stores a kernel `(height, width, C, filters)` in the order in which PyTorch convolves images `(N, H, W, C)`.

    Otherwise each step copies the kernel and its gradient. The shape and the values stay.
    """
    values = kernel.value
    values.data = values.data.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


def _torch_convolution(layer: Any, x: Any, kernel: Any, rates: tuple[int, int]) -> Any:
    """Convolves `x`, `(N, H, W, C)`, with `kernel`, `(height, width, C // groups, filters)`."""
    from torch.nn import functional

    x = ops.convert_to_tensor(x).permute(0, 3, 1, 2)
    kernel = ops.convert_to_tensor(kernel).permute(3, 2, 0, 1)
    around = [0, 0]
    if layer.padding == "same":
        sides = zip(x.shape[2:], layer.strides, kernel.shape[2:], rates, strict=True)
        around = [max(0, (taps - 1) * rate - (side - 1) % step) for side, step, taps, rate in sides]
        if any(total % 2 for total in around):  # one more pixel at the far side
            down, along = around
            x = functional.pad(x, (along // 2, along - along // 2, down // 2, down - down // 2))
            around = [0, 0]
    x = functional.conv2d(
        x,
        kernel,
        ops.convert_to_tensor(layer.bias) if layer.use_bias else None,
        stride=layer.strides,
        padding=[total // 2 for total in around],
        dilation=rates,
        groups=x.shape[1] // kernel.shape[1],
    ).permute(0, 2, 3, 1)
    return x if layer.activation is None else layer.activation(x)


FAST_LAYERS: dict[Any, Any] = {
    keras.layers.Conv2D: Conv2D,
    keras.layers.DepthwiseConv2D: DepthwiseConv2D,
    keras.layers.BatchNormalization: BatchNormalization,
}
"""The fast class for each class of Keras; their configurations and weights are the same."""


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
            self.depthwise = DepthwiseConv2D(
                kernel_size,
                **spatial,
                use_bias=False,
                depthwise_initializer="he_normal",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name="depthwise",
            )
        self.conv = Conv2D(
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
            self.norm = BatchNormalization(
                axis=-1, momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, dtype=self.dtype_policy, name="norm"
            )

    def drop_normalization(self) -> None:
        """Replaces the normalization by a bias, before the layer is built."""
        config = self.conv.get_config()
        del self.conv, self.norm
        self.normalization, self.use_bias = False, True
        self.conv = Conv2D.from_config({**config, "use_bias": True})

    def build(self, x_shape: Shape) -> None:
        if self.separable:
            self.depthwise.build(x_shape)
            x_shape = self.depthwise.compute_output_shape(x_shape)
        self.conv.build(x_shape)
        if self.normalization:
            self.norm.build(self.conv.compute_output_shape(x_shape))

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.finish(self.conv(self.depthwise(x) if self.separable else x), training)

    def finish(self, x: Any, training: bool | None = None) -> Any:
        """Applies what follows the convolution: normalization and activation."""
        if self.normalization:
            x = self.norm(x, training=training)
        return self.activation(x)

    def compute_output_shape(self, x_shape: Shape) -> Any:
        if self.separable:
            x_shape = self.depthwise.compute_output_shape(x_shape)
        return self.conv.compute_output_shape(x_shape)

    def reach(self, x: Reach) -> Reach:
        return x.window(self.kernel_size, rate=self.dilation_rate, stride=self.strides)
