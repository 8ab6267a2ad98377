"""The decoder block of U-Net, and the head that computes the scores."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.attention import ChannelSpatialExcitation
from kseg.layers.convolution import Conv2D, ConvNormAct
from kseg.layers.cropping import fitted
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize
from kseg.layers.tracing import is_enlarged


@keras.saving.register_keras_serializable(package="kseg")
class UNetBlock(ConfiguredLayer):
    """Decoder block of U-Net: upsample, concatenate the skip features, apply two 3x3 convolutions.

    Args:
        filters: Number of channels of both convolutions.
        normalization: Whether to apply batch normalization.
        activation: Activation after each convolution.
        doubling: Whether to copy each pixel to exactly two and crop to the skip features where the encoder rounded odd
            sizes up, as segmentation-models-pytorch does; "nearest" is computed as "nearest_floor" of `Resize` then,
            and bilinear features that are too small are extended, see `CropLike`. False resizes to the skip features.
        interpolation: How to upsample: "nearest" (copy pixels) or "bilinear".
        stride: Where there is no `skip`, the output has the size of `like` divided by this, rounded down.
        attention: None, or "scse": `ChannelSpatialExcitation` before the first convolution, if there are skip features,
            and after the second.

    Call arguments:
        x: Coarse features, `(N, H, W, C)`.
        skip: Finer features of the encoder, `(N, H', W', C')`, of any size. Without them the size of x is doubled.
        like: Tensor `(N, H', W', ...)` that gives the size if there is no `skip`.

    Returns:
        `(N, H', W', filters)`.

    Raises:
        ValueError: If the interpolation or the attention is unknown.

    Reference:
        Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597. This variant, for pretrained encoders, pads its
        convolutions and upsamples without weights.

    Example:
        >>> import numpy as np
        >>> x, skip = np.zeros((1, 3, 4, 8), "float32"), np.zeros((1, 5, 7, 2), "float32")
        >>> tuple(UNetBlock(4)(x, skip).shape)
        (1, 5, 7, 4)
    """

    def __init__(
        self,
        filters: int,
        *,
        normalization: bool = True,
        activation: Any = "relu",
        doubling: bool = False,
        interpolation: str = "nearest",
        attention: str | None = None,
        stride: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if attention not in (None, "scse"):
            raise ValueError(f'{self.name}: attention must be None or "scse", got {attention!r}')
        self.filters = filters
        self.normalization = normalization
        self.activation = keras.activations.get(activation)
        self.doubling = doubling
        self.interpolation = interpolation
        self.attention = attention
        self.stride = stride
        self.enlarge = Resize(factor=2, interpolation=interpolation, dtype=self.dtype_policy, name="enlarge")
        copied = "nearest_floor" if doubling and interpolation == "nearest" else interpolation
        self.match = Resize(interpolation=copied, dtype=self.dtype_policy, name="match")
        self.convs = [
            ConvNormAct(
                filters, normalization=normalization, activation=activation, dtype=self.dtype_policy, name=f"conv{i}"
            )
            for i in (1, 2)
        ]

    def build(self, x_shape: Shape, skip_shape: Shape | None = None, like_shape: Shape | None = None) -> None:
        shape = (None, None, None, (x_shape[-1] or 0) + ((skip_shape[-1] or 0) if skip_shape else 0))
        self.convs[0].build(shape)
        self.convs[1].build((None, None, None, self.filters))
        if self.attention and skip_shape:
            self.attention1 = ChannelSpatialExcitation(dtype=self.dtype_policy, name="attention1")
            self.attention1.build(shape)
        if self.attention:
            self.attention2 = ChannelSpatialExcitation(dtype=self.dtype_policy, name="attention2")
            self.attention2.build((None, None, None, self.filters))

    def call(self, x: Any, skip: Any = None, like: Any = None, training: bool | None = None) -> Any:
        size = self._size(None if skip is None else ops.shape(skip), None if like is None else ops.shape(like))
        first, second = self.convs
        plain = self.interpolation == "nearest" and not self.attention
        if plain and not is_enlarged() and (size is None or _is_twice(size, ops.shape(x)[1:3])):
            x = first.finish(first.conv.doubled(x, skip), training)
        else:
            if size is None:
                x = self.enlarge(x)
            elif self.doubling and (self.interpolation == "bilinear" or _is_cropped(size, ops.shape(x)[1:3])):
                x = fitted(self.enlarge(x), size)
            else:
                x = self.match.to(x, size)
            x = x if skip is None else ops.concatenate([x, skip], axis=-1)
            x = self.attention1(x) if self.attention and skip is not None else x
            x = first(x, training=training)
        x = second(x, training=training)
        return self.attention2(x) if self.attention else x

    def compute_output_shape(
        self, x_shape: Shape, skip_shape: Shape | None = None, like_shape: Shape | None = None
    ) -> Shape:
        size = self._size(skip_shape, like_shape) or self.enlarge.compute_output_shape(x_shape)[1:3]
        return (x_shape[0], *size, self.filters)

    def _size(self, skip_shape: Any, like_shape: Any) -> tuple[Any, Any] | None:
        """Height and width of the output: integers where known, tensors or None where not; None if x sets them."""
        if skip_shape is not None:
            return skip_shape[1], skip_shape[2]
        if like_shape is None:
            return None
        height, width = (side if side is None else side // self.stride for side in like_shape[1:3])
        return height, width

    def reach(self, x: Reach, skip: Reach | None = None, like: Reach | None = None) -> Reach:
        fine = skip or like
        pixels = max(x.pixels, fine.pixels) if fine else x.pixels
        pixels += x.step if self.interpolation == "bilinear" else 0
        step = fine.step * (1 if skip else self.stride) if fine else x.step / 2
        return Reach(math.inf if self.attention else pixels, step).window(3).window(3)


def _is_twice(large: Sequence[Any], small: Sequence[Any]) -> bool:
    """Returns whether both sizes are known and one is twice the other."""
    return all(isinstance(a, int) and isinstance(b, int) and a == 2 * b for a, b in zip(large, small, strict=True))


def _is_cropped(large: Sequence[Any], small: Sequence[Any]) -> bool:
    """Returns whether both sizes are known and one is twice the other, or one less."""
    return all(isinstance(a, int) and isinstance(b, int) and b == -(-a // 2) for a, b in zip(large, small, strict=True))


def check_activation(layer: keras.layers.Layer, activation: str | None, num_classes: int) -> None:
    """Checks the activation of scores."""
    if activation not in (None, "softmax", "sigmoid"):
        raise ValueError(f'{layer.name}: activation must be None, "softmax" or "sigmoid", got {activation!r}')
    if activation == "softmax" and num_classes == 1:
        raise ValueError(f"{layer.name}: softmax of one class is always 1: use sigmoid or two classes")


@keras.saving.register_keras_serializable(package="kseg")
class SegmentationHead(ConfiguredLayer):
    """Convolve features to the scores of the classes and resize them to the image.

    Computes in float32 under every dtype policy, because losses of float16 logits overflow. The logits are resized
    before the activation, so that probabilities sum to one and boundaries stay sharp.

    Args:
        num_classes: Number of output channels; 1 for binary segmentation.
        kernel_size: Height and width of the kernel.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.
        aligned_factor: None resizes to `like`. A number, the stride of the features, upsamples by it with aligned
            corners, as segmentation-models-pytorch does. The scores are then cropped to `like`, or extended by their
            last row and column on encoders that round sizes down, see `CropLike`.
        align_corners: Whether to resize to `like` with aligned corners, see `Resize`.
        kernel_initializer: Initializer of the kernel.

    Call arguments:
        x: Features, `(N, H, W, C)`.
        like: Tensor `(N, H', W', ...)` whose size the output takes, usually the image. None keeps the size.

    Returns:
        float32 `(N, H', W', num_classes)`: logits, or probabilities from 0 to 1.

    Raises:
        ValueError: If the activation is invalid, or `aligned_factor` is not the stride of the features.

    Example:
        >>> import numpy as np
        >>> features, image = np.zeros((1, 3, 4, 8), "float32"), np.zeros((1, 21, 30, 3), "uint8")
        >>> tuple(SegmentationHead(num_classes=5)(features, like=image).shape)
        (1, 21, 30, 5)
    """

    def __init__(
        self,
        num_classes: int,
        *,
        kernel_size: int = 1,
        activation: str | None = None,
        aligned_factor: int | None = None,
        align_corners: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs | {"dtype": "float32"})
        check_activation(self, activation, num_classes)
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.activation = activation
        self.aligned_factor = aligned_factor
        self.align_corners = align_corners
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.conv = Conv2D(
            num_classes,
            kernel_size,
            padding="same",
            kernel_initializer=self.kernel_initializer,
            data_format="channels_last",
            dtype="float32",
            name="conv",
        )
        aligned = align_corners or aligned_factor is not None
        self.resize = Resize(factor=aligned_factor, align_corners=aligned, dtype="float32", name="resize")

    def build(self, x_shape: Shape, like_shape: Shape | None = None) -> None:
        self.conv.build(x_shape)

    def call(self, x: Any, like: Any = None) -> Any:
        x = self.conv(x)
        if like is not None and self.aligned_factor is None:
            x = self.resize(x, like=like)
        elif like is not None:
            self.compute_output_shape(x.shape, like.shape)  # checks known sizes
            x = fitted(self.resize(x), ops.shape(like)[1:3])
        return keras.activations.get(self.activation)(x)

    def compute_output_shape(self, x_shape: Shape, like_shape: Shape | None = None) -> Shape:
        size = (x_shape if like_shape is None else like_shape)[1:3]
        for have, want in zip(x_shape[1:3], size, strict=True):
            if self.aligned_factor and have and want and (have + 1) * self.aligned_factor <= want:
                raise ValueError(
                    f"{self.name}: {self.aligned_factor} times {have} pixels are far fewer than the {want} of the "
                    "image: aligned_factor must be the stride of the features"
                )
        return (x_shape[0], *size, self.num_classes)

    def reach(self, x: Reach, like: Reach | None = None) -> Reach:
        x = x.window(self.kernel_size)
        return Reach(x.pixels + x.step, like.step) if like and x.step > 1 else x
