"""Learnable upsampling: the transposed convolution that starts as bilinear interpolation."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="kseg")
class BilinearKernel(keras.initializers.Initializer):
    """The kernel with which a transposed convolution interpolates bilinearly, every channel on its own.

    With `f = (k + 1) // 2` and the centre `f - 1` for odd k, `f - 0.5` for even k, tap i weighs `1 - |i - centre| / f`;
    the kernel is the outer product of two such rows, on the diagonal across the channels.

    Returns (when called):
        `(rows, columns, channels, channels)`, the kernel shape of a transposed convolution.

    Raises:
        ValueError: when the numbers of output and input channels differ.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038

    Example:
        >>> import numpy as np
        >>> kernel = keras.ops.convert_to_numpy(BilinearKernel()((4, 4, 1, 1)))
        >>> (16 * kernel[:, :, 0, 0]).astype(int).tolist()
        [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]
    """

    def __call__(self, shape, dtype=None):
        *size, outputs, inputs = shape
        if outputs != inputs:
            raise ValueError(
                f"BilinearKernel keeps channels apart and cannot turn {inputs} into {outputs}: use as many filters as "
                "channels, or another initializer such as 'glorot_uniform'"
            )
        rows, columns = (_tent(n) for n in size)
        kernel = np.multiply.outer(np.outer(rows, columns), np.eye(outputs))
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


def _tent(taps: int) -> np.ndarray:
    half = (taps + 1) // 2
    centre = half - 1 if taps % 2 else half - 0.5
    return 1 - np.abs(np.arange(taps) - centre) / half


@keras.saving.register_keras_serializable(package="kseg")
class TransposeUpsampling2D(keras.layers.Layer):
    """Upsample by a transposed convolution, as FCN does.

    At the start it interpolates bilinearly: away from a border of factor / 2 pixels, where the zeros around the image
    darken the result, it equals `Resize(factor=factor)` for every even factor. Training may change that;
    `trainable=False` fixes it.

    Where the kernel's size is not a multiple of the factor, output pixels are sums of unequally many inputs, and a
    checkerboard shows: that warns. Twice the factor overlaps evenly; `kernel_size=factor` does not overlap at all.
    An odd factor shifts the map by half an output pixel when the kernel is even.

    Args:
        filters: number of output channels; with the bilinear start, the number of input channels too.
        factor: how many times larger the output is.
        kernel_size: 2 * factor unless given.
        kernel_initializer: "bilinear" or anything Keras takes.
        use_bias: whether a bias is added.

    Returns:
        `(N, factor * H, factor * W, filters)`.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038;
        Odena et al., Deconvolution and Checkerboard Artifacts, https://distill.pub/2016/deconv-checkerboard

    Example:
        >>> import numpy as np
        >>> tuple(TransposeUpsampling2D(filters=3, factor=8)(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 40, 56, 3)
    """

    def __init__(
        self,
        filters: int,
        factor: int = 2,
        *,
        kernel_size: int | None = None,
        kernel_initializer: Any = "bilinear",
        use_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.factor = factor
        self.kernel_size = 2 * factor if kernel_size is None else kernel_size
        self.kernel_initializer = (
            BilinearKernel() if kernel_initializer == "bilinear" else keras.initializers.get(kernel_initializer)
        )
        self.use_bias = use_bias
        if self.kernel_size % factor:
            warnings.warn(
                f"{self.name}: a kernel of {self.kernel_size} overlaps unevenly at factor {factor} and draws "
                f"checkerboards: use {factor} or {2 * factor}",
                stacklevel=2,
            )

    def build(self, x_shape):
        shape = (self.kernel_size, self.kernel_size, self.filters, x_shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        x = ops.conv_transpose(x, self.kernel, self.factor, padding="same", data_format="channels_last")
        return x + self.bias if self.use_bias else x

    def compute_output_shape(self, x_shape):
        batch, *size, _ = x_shape
        return (batch, *(n if n is None else n * self.factor for n in size), self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "factor": self.factor,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "use_bias": self.use_bias,
        }
