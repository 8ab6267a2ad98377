"""Images of any channel count, for encoders whose weights know RGB.

The rule: one channel gets the sum of the RGB kernels of the first convolution and the mean of the normalisation
constants, so that a gray image gives what the same image repeated as RGB gives (exactly, where the three channels share
their constants). Any other count C repeats the RGB kernels and constants cyclically, the kernels scaled by 3 / C, so
that the activations keep their scale.
"""

from collections.abc import Sequence

import keras
import numpy as np


def adapt_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Fits the first convolution's kernel to a channel count.

    Args:
        kernel: `(height, width, 3, filters)`, for RGB.
        channels: The channel count of the images.

    Returns:
        `(height, width, channels, filters)`.

    Example:
        >>> adapt_kernel(np.ones((1, 1, 3, 1)), 1).ravel().tolist()
        [3.0]
        >>> adapt_kernel(np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1), 6).ravel().tolist()
        [0.5, 1.0, 1.5, 0.5, 1.0, 1.5]
    """
    if channels == 3:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * (3 / channels)


def normalization(mean: Sequence[float], deviation: Sequence[float], channels: int) -> keras.layers.Layer:
    """The first layer of every encoder: `(image - mean) / deviation`, in float32 under any dtype policy.

    Args:
        mean: Of red, green and blue, on the scale 0 to 255.
        deviation: Likewise.
        channels: The channel count of the images.

    Returns:
        A layer named `normalization` for images of any dtype.

    Example:
        >>> gray = np.full((1, 1, 1, 1), 255, "uint8")
        >>> float(normalization([127.0] * 3, [128.0] * 3, channels=1)(gray)[0, 0, 0, 0])
        1.0
    """

    def fit(constants: Sequence[float]) -> np.ndarray:
        return np.full(1, np.mean(constants)) if channels == 1 else np.resize(constants, channels)

    scale = 1 / fit(deviation)
    # bfloat16 does not hold 0 to 255 after a subtraction: the next layer casts, this one does not.
    return keras.layers.Rescaling(scale.tolist(), (-fit(mean) * scale).tolist(), dtype="float32", name="normalization")
