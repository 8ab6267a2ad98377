"""Cropping to the size of another tensor, and checks of image sizes that cropping cannot correct."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="kseg")
class CropLike(ConfiguredLayer):
    """Crop `(N, H, W, C)` to the height and width of another tensor, as U-Net does with its skip features.

    Args:
        at: "center", which crops the same margin on both sides, or "corner", which keeps the upper left corner.
        extend: Whether `like` may be larger: the last row and column are then repeated, so that all pixels keep their
            positions. This fits features that were enlarged by their stride to an image, however odd sizes were
            rounded. Only with "corner".

    Call arguments:
        x: `(N, H, W, C)`.
        like: `(N, H', W', ...)`, not larger than x without `extend`. With "center" the difference must be even.

    Returns:
        `(N, H', W', C)`.

    Raises:
        ValueError: If `at` is unknown or does not fit `extend`, if `like` is larger, or if the margins on the two sides
            would differ.

    Example:
        >>> import numpy as np
        >>> x, like = np.arange(16.0).reshape(1, 4, 4, 1), np.zeros((1, 2, 2, 7))
        >>> keras.ops.convert_to_numpy(CropLike()(x, like))[0, :, :, 0].astype(int).tolist()
        [[5, 6], [9, 10]]
    """

    def __init__(self, at: str = "center", *, extend: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if at not in ("center", "corner"):
            raise ValueError(f'CropLike: at must be "center" or "corner", got {at!r}')
        if extend and at == "center":
            raise ValueError('CropLike: extend=True needs at="corner"')
        self.at = at
        self.extend = extend

    def call(self, x: Any, like: Any) -> Any:
        self.compute_output_shape(x.shape, like.shape)  # checks known sizes
        if self.extend:
            return fitted(x, ops.shape(like)[1:3])
        (height, width), (rows, columns) = ops.shape(x)[1:3], ops.shape(like)[1:3]
        top, left = ((height - rows) // 2, (width - columns) // 2) if self.at == "center" else (0, 0)
        return x[:, top : top + rows, left : left + columns]

    def compute_output_shape(self, x_shape: Shape, like_shape: Shape) -> Shape:
        for size, wanted in zip(x_shape[1:3], like_shape[1:3], strict=True):
            smaller = size and wanted and size < wanted and not self.extend
            if smaller or (size and wanted and self.at == "center" and (size - wanted) % 2):
                raise ValueError(f"{self.name}: cannot crop {size} pixels to {wanted} at the {self.at}")
        return (*like_shape[:3], x_shape[-1])

    def compute_output_spec(self, x: Any, like: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(x.shape, like.shape), dtype=x.dtype)

    def reach(self, x: Reach, like: Reach) -> Reach:
        return x


def fitted(x: Any, size: Sequence[Any]) -> Any:
    """Crops features `(N, H, W, C)` at the lower right, or repeats their last row and column, to a height and a width.

    Sizes may be integers or tensors.
    """
    for axis, wanted in enumerate(size, start=1):
        have = ops.shape(x)[axis]
        if isinstance(have, int) and isinstance(wanted, int) and have >= wanted:
            x = x[:, :wanted] if axis == 1 else x[:, :, :wanted]
        else:
            x = ops.take(x, ops.minimum(ops.arange(wanted, dtype="int32"), have - 1), axis=axis)
    return x


class _SizeCheck(ConfiguredLayer):
    """A layer that returns its input if `check` accepts the shape. Sizes that are unknown are not checked."""

    def check(self, shape: Shape) -> None:
        raise NotImplementedError

    def call(self, image: Any) -> Any:
        self.check(image.shape)
        return image

    def compute_output_shape(self, shape: Shape) -> Shape:
        self.check(shape)
        return shape

    def reach(self, image: Reach) -> Reach:
        return image


@keras.saving.register_keras_serializable(package="kseg")
class SmallestSize(_SizeCheck):
    """Return an image unchanged if it is large enough for an encoder whose poolings round down.

    Args:
        side: The smallest height and width.

    Example:
        >>> SmallestSize(32).compute_output_shape((None, 20, None, 3))
        Traceback (most recent call last):
        ...
        ValueError: the encoder needs sides of 32 pixels or more, got 20: use larger images or another encoder
    """

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side = side

    def check(self, shape: Shape) -> None:
        """Raises the error for the shape of an image `(N, H, W, C)`."""
        for side in shape[1:3]:
            if isinstance(side, int) and side < self.side:
                raise ValueError(
                    f"the encoder needs sides of {self.side} pixels or more, got {side}: use larger images or another "
                    "encoder"
                )


@keras.saving.register_keras_serializable(package="kseg")
class UnpaddedSize(_SizeCheck):
    """Return an image unchanged if the unpadded U-Net can process its size.

    Each level has two 3x3 convolutions without padding, so that only some sizes are even before every pooling.

    Args:
        levels: Number of levels of the U-Net. The paper's 5 allow 188, 204, ..., 572, ... pixels.

    Example:
        >>> UnpaddedSize(5).check((None, 512, 572, 1))
        Traceback (most recent call last):
        ...
        ValueError: padding="valid" does not allow a side of 512 pixels: use 508 or 524, or padding="same"
    """

    def __init__(self, levels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.levels = levels

    def check(self, shape: Shape) -> None:
        """Raises the error for the shape of an image `(N, H, W, C)`."""
        step = 2 ** (self.levels - 1)
        deepest = min(4, 2 * step - 1)  # after its convolutions; the decoder makes it `step * (deepest - 4) + 4`
        smallest = step * (deepest + 4) + 4 * (step - 1)
        for side in shape[1:3]:
            if isinstance(side, int) and (side < smallest or (side - smallest) % step):
                low = max(smallest, side - (side - smallest) % step)
                raise ValueError(
                    f'padding="valid" does not allow a side of {side} pixels: use {low} or {low + step}, or '
                    'padding="same"'
                )
