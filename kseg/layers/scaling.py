"""Trainable factors of channels: constant (ConvNeXt), or dependent on the image (ConvNeXt V2)."""

import math
from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer

TINY = 1e-24
"""Smallest square of a norm: the gradient of the root of 0 is infinite."""


@keras.saving.register_keras_serializable(package="kseg")
class LayerScale(ConfiguredLayer):
    """Multiply each channel by a trainable factor.

    Args:
        initial: Initial value of the factors.

    Returns:
        A tensor of the shape of the input, `(N, H, W, C)`.

    Reference:
        Touvron et al., Going deeper with Image Transformers, https://arxiv.org/abs/2103.17239

    Example:
        >>> ops.convert_to_numpy(LayerScale(0.5)(ops.ones((1, 1, 1, 1)))).tolist()
        [[[[0.5]]]]
    """

    def __init__(self, initial: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, x_shape: Shape) -> None:
        start = keras.initializers.Constant(self.initial)
        self.scale = self.add_weight(shape=x_shape[-1:], initializer=start, name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return x


@keras.saving.register_keras_serializable(package="kseg")
class GlobalResponseNormalization(ConfiguredLayer):
    """Multiply each channel by its norm over the image, relative to the mean of these norms over all channels.

    The product is scaled and shifted by trainable numbers, which are 0 at first, and added to the input.

    Args:
        epsilon: Number that is added to the mean of the norms.

    Returns:
        A tensor of the shape of the input, `(N, H, W, C)`.

    Reference:
        Woo et al., ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders,
        https://arxiv.org/abs/2301.00808

    Example:
        >>> tuple(GlobalResponseNormalization()(ops.ones((1, 5, 7, 4))).shape)
        (1, 5, 7, 4)
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, x_shape: Shape) -> None:
        self.scale, self.shift = (
            self.add_weight(shape=(1, 1, 1, x_shape[-1]), initializer="zeros", name=name) for name in ("scale", "shift")
        )

    def call(self, x: Any) -> Any:
        squares = ops.sum(ops.square(ops.cast(x, "float32")), axis=(1, 2), keepdims=True)  # float16 overflows
        norms = ops.sqrt(ops.maximum(squares, TINY))
        relative = norms / (ops.mean(norms, axis=-1, keepdims=True) + self.epsilon)
        return self.scale * (x * ops.cast(relative, x.dtype)) + self.shift + x

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)
