"""Learnable upsampling: a transposed convolution that is initialized to bilinear interpolation."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="kseg")
class BilinearKernel(keras.initializers.Initializer):
    """Kernel of a transposed convolution that interpolates bilinearly, each channel separately.

    For a kernel of k taps, with `f = (k + 1) // 2` and the center `f - 1` for odd k and `f - 0.5` for even k, tap i has
    the weight `1 - |i - center| / f`. The kernel is the outer product of two such rows, on the channels' diagonal.

    Returns (when called):
        `(rows, columns, channels, channels)`, the shape of the kernel of a transposed convolution.

    Raises:
        ValueError: If the numbers of output and input channels differ.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038

    Example:
        >>> import numpy as np
        >>> kernel = keras.ops.convert_to_numpy(BilinearKernel()((4, 4, 1, 1)))
        >>> (16 * kernel[:, :, 0, 0]).astype(int).tolist()
        [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        *size, outputs, inputs = shape
        if outputs != inputs:
            raise ValueError(
                f"BilinearKernel needs as many filters as input channels, got {inputs} into {outputs}: change the "
                "filters or use another initializer such as 'glorot_uniform'"
            )
        rows, columns = (_tent(n) for n in size)
        kernel = np.multiply.outer(np.outer(rows, columns), np.eye(outputs))
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


def _tent(taps: int) -> Any:
    half = (taps + 1) // 2
    center = half - 1 if taps % 2 else half - 0.5
    return 1 - np.abs(np.arange(taps) - center) / half


@keras.saving.register_keras_serializable(package="kseg")
class TransposeUpsampling2D(ConfiguredLayer):
    """Upsample by a transposed convolution, as FCN does.

    It is initialized to bilinear interpolation. For even factors it then equals `Resize(factor=factor)`, except at a
    border of factor / 2 pixels, where zero padding lowers the values. Training may change the kernel;
    `trainable=False` keeps it.

    If the kernel size is not a multiple of the factor, the output pixels are sums of different numbers of input
    pixels, which makes a checkerboard pattern, and the layer warns. With an odd factor and an even kernel the output is
    shifted by half a pixel.

    Args:
        filters: Number of output channels. With the bilinear initializer it must equal the number of input channels.
        factor: Ratio of the output size to the input size.
        kernel_size: Height and width of the kernel. None stands for 2 * factor.
        kernel_initializer: "bilinear" or any Keras initializer.
        use_bias: Whether to add a bias.

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
                f"{self.name}: a kernel of {self.kernel_size} overlaps unevenly at factor {factor} and makes "
                f"checkerboard patterns: use {factor} or {2 * factor}",
                stacklevel=2,
            )

    def build(self, x_shape: Shape) -> None:
        shape = (self.kernel_size, self.kernel_size, self.filters, x_shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        x = ops.conv_transpose(x, self.kernel, self.factor, padding="same", data_format="channels_last")
        return x + self.bias if self.use_bias else x

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        batch, *size, _ = x_shape
        return (batch, *(n if n is None else n * self.factor for n in size), self.filters)

    def reach(self, x: Reach) -> Reach:
        return x.transposed(self.kernel_size, self.factor)
