"""Cut a map to the size of another one; refuse sizes that cuts cannot mend."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kseg")
class CropLike(keras.layers.Layer):
    """Cut `(N, H, W, C)` to another tensor's height and width: U-Net's copy and crop.

    Args:
        at: "centre", where the same margin goes on both sides, or "corner", which keeps the upper left.

    Call arguments:
        x: `(N, H, W, C)`.
        like: `(N, H', W', ...)`, no larger; at the centre by an even number of pixels.

    Returns:
        `(N, H', W', C)`.

    Raises:
        ValueError: `like` is larger, or the margin cannot be halved.

    Example:
        >>> import numpy as np
        >>> x, like = np.arange(16.0).reshape(1, 4, 4, 1), np.zeros((1, 2, 2, 7))
        >>> keras.ops.convert_to_numpy(CropLike()(x, like))[0, :, :, 0].astype(int).tolist()
        [[5, 6], [9, 10]]
    """

    def __init__(self, at: str = "centre", **kwargs: Any):
        super().__init__(**kwargs)
        if at not in ("centre", "corner"):
            raise ValueError(f'CropLike: at is "centre" or "corner", got {at!r}')
        self.at = at

    def call(self, x, like):
        self._check(x.shape, like.shape)
        (height, width), (rows, columns) = ops.shape(x)[1:3], ops.shape(like)[1:3]
        top, left = ((height - rows) // 2, (width - columns) // 2) if self.at == "centre" else (0, 0)
        return x[:, top : top + rows, left : left + columns]

    def compute_output_shape(self, x_shape, like_shape):
        self._check(x_shape, like_shape)
        return (*like_shape[:3], x_shape[-1])

    def compute_output_spec(self, x, like):
        return keras.KerasTensor(self.compute_output_shape(x.shape, like.shape), dtype=x.dtype)

    def get_config(self):
        return super().get_config() | {"at": self.at}

    def _check(self, x_shape, like_shape):
        for size, wanted in zip(x_shape[1:3], like_shape[1:3], strict=True):
            if not isinstance(size, int) or not isinstance(wanted, int):
                continue
            if size < wanted or (self.at == "centre" and (size - wanted) % 2):
                raise ValueError(f"{self.name}: {size} pixels cannot be cut to {wanted} at the {self.at}")


@keras.saving.register_keras_serializable(package="kseg")
class SmallestSize(keras.layers.Layer):
    """Hands an image on if it is large enough for a net whose poolings round down.

    Args:
        side: the least height and width.

    Returns:
        The image.

    Raises:
        ValueError: a side is shorter. Sizes that are not known before the net runs on them are not looked at.

    Example:
        >>> SmallestSize(32).compute_output_shape((None, 20, None, 3))
        Traceback (most recent call last):
        ...
        ValueError: the encoder takes no side of 20 pixels: take 32 or more, or another encoder
    """

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side = side

    def call(self, image):
        self.compute_output_shape(image.shape)
        return image

    def compute_output_shape(self, shape):
        for side in shape[1:3]:
            if isinstance(side, int) and side < self.side:
                raise ValueError(
                    f"the encoder takes no side of {side} pixels: take {self.side} or more, or another encoder"
                )
        return shape

    def get_config(self):
        return super().get_config() | {"side": self.side}


@keras.saving.register_keras_serializable(package="kseg")
class UnpaddedSize(keras.layers.Layer):
    """Hands an image on if the unpadded U-Net can take its size.

    Two 3x3 convolutions a level without padding leave even sizes before every pooling for some sides only.

    Args:
        levels: of the U-Net; 5 in the paper, which gives 188, 204, ... 572, ...

    Returns:
        The image.

    Raises:
        ValueError: a side that does not fit, with those near it.

    Example:
        >>> UnpaddedSize(5).check((None, 512, 572, 1))
        Traceback (most recent call last):
        ...
        ValueError: padding="valid" takes no side of 512 pixels: take 508 or 524, or padding="same"
    """

    def __init__(self, levels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.levels = levels

    def call(self, image):
        self.check(image.shape)
        return image

    def compute_output_shape(self, shape):
        self.check(shape)
        return shape

    def get_config(self):
        return super().get_config() | {"levels": self.levels}

    def check(self, shape) -> None:
        """Raises the error for an image's shape `(N, H, W, C)`."""
        step = 2 ** (self.levels - 1)
        deepest = min(4, 2 * step - 1)  # after its convolutions: the way up makes it `step * (deepest - 4) + 4`
        smallest = step * (deepest + 4) + 4 * (step - 1)
        for side in shape[1:3]:
            if isinstance(side, int) and (side < smallest or (side - smallest) % step):
                low = max(smallest, side - (side - smallest) % step)
                raise ValueError(
                    f'padding="valid" takes no side of {side} pixels: take {low} or {low + step}, or padding="same"'
                )
