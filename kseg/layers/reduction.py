"""Reduction of images by a power of two."""

from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer

TAPS = (-0.09375, 0.59375, 0.59375, -0.09375)
"""Cubic interpolation with a = -3/4 halfway between the two middle pixels of four."""


@keras.saving.register_keras_serializable(package="kseg")
class BicubicReduction(ConfiguredLayer):
    """Reduce images by an even factor with bicubic interpolation, without blurring them first.

    The center of each new pixel lies between four old ones along each side, the same four for any size of the image.
    This is PyTorch's `interpolate(image, scale_factor=1 / factor, mode="bicubic")`.

    Args:
        factor: Ratio of the input size to the output size, an even number. Sizes are rounded down, but never below 1.

    Returns:
        `(N, H // factor, W // factor, C)`.

    Raises:
        ValueError: If the factor is not a positive even number.

    Example:
        >>> import numpy as np
        >>> tuple(BicubicReduction(2)(np.zeros((1, 5, 8, 3), "float32")).shape)
        (1, 2, 4, 3)
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(factor, int) or factor < 2 or factor % 2:
            raise ValueError(f"{self.name}: factor must be a positive even number, got {factor!r}")
        self.factor = factor
        self.built = True  # it has no weights

    def call(self, image: Any) -> Any:
        for axis in (1, 2):
            size = ops.shape(image)[axis]
            first = self.factor * ops.arange(_reduced(size, self.factor), dtype="int32") + self.factor // 2 - 2
            positions = (ops.clip(first + tap, 0, size - 1) for tap in range(4))
            image = sum(weight * ops.take(image, p, axis=axis) for weight, p in zip(TAPS, positions, strict=True))
        return image

    def compute_output_shape(self, image_shape: Shape) -> Shape:
        sides = (None if side is None else _reduced(side, self.factor) for side in image_shape[1:3])
        return (image_shape[0], *sides, image_shape[3])

    def reach(self, image: Reach) -> Reach:
        return image.window(4, stride=self.factor)


def _reduced(size: Any, factor: int) -> Any:
    return max(size // factor, 1) if isinstance(size, int) else ops.maximum(size // factor, 1)
