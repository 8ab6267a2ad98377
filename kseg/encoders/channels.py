"""Normalization of images, and encoders for any number of channels.

Pretrained weights expect RGB images. For one channel, the first convolution gets the sum of the RGB kernels, and the
normalization the mean of the RGB constants, so that a gray image gives the same features as the same image repeated as
RGB (exactly, if the three channels share their constants). For any other number of channels C, kernels and constants
are repeated cyclically, and the kernels are multiplied by 3 / C, which preserves the scale of the activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Normalization:
    """The constants of `(image - mean) / std` for red, green and blue or other channels, on the scale 0 to 255.

    Attributes:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        bgr: Whether the weights were trained on blue, green, red. The first kernel is then reversed; images stay RGB.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    def layer(self, channels: int) -> keras.layers.Layer:
        """Returns the first layer of an encoder, which computes in float32 under any dtype policy."""
        mean, std = self.fitted(channels)
        scale = 1 / std
        # bfloat16 cannot represent 0 to 255 after a subtraction: this layer stays float32, and the next one casts.
        return keras.layers.Rescaling(scale.tolist(), (-mean * scale).tolist(), dtype="float32", name="normalization")

    def fitted(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean and the standard deviation for this number of channels, `(channels,)` each."""

        def fit(constants: Sequence[float]) -> np.ndarray:
            return np.full(1, np.mean(constants)) if channels == 1 else np.resize(constants, channels)

        return fit(self.mean), fit(self.std)


CAFFE = Normalization((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), bgr=True)
IMAGENET = Normalization((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
LITE = Normalization((127.0,) * 3, (128.0,) * 3)
TO_UNIT = Normalization((0.0,) * 3, (255.0,) * 3)  # to 0 ... 1
TO_ONE = Normalization((127.5,) * 3, (127.5,) * 3)  # to -1 ... 1
TO_ONE_128 = Normalization((128.0,) * 3, (128.0,) * 3)


def adapt_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Adapts the kernel of the first convolution to a number of channels."""
    if channels == 3:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * (3 / channels)
