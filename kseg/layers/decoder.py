"""The decoder block of U-Net, and the head that computes the scores."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.attention import ChannelSpatialExcitation
from kseg.layers.convolution import Conv2D, ConvNormAct
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
        doubling: Whether to upsample by exactly two and crop to the skip features, as segmentation-models-pytorch
            does, which suits encoders that round odd sizes up. False resizes to the skip features.
        interpolation: How to upsample: "nearest" (copy pixels) or "bilinear".
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
        self.enlarge = Resize(factor=2, interpolation=interpolation, dtype=self.dtype_policy, name="enlarge")
        self.match = Resize(interpolation=interpolation, dtype=self.dtype_policy, name="match")
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
        target = like if skip is None else skip
        size = None if target is None else ops.shape(target)[1:3]
        first, second = self.convs
        plain = self.interpolation == "nearest" and not self.attention
        if plain and not is_enlarged() and (size is None or _is_twice(size, ops.shape(x)[1:3])):
            x = first.finish(first.conv.doubled(x, skip), training)
        else:
            if target is not None and not self.doubling:
                x = self.match(x, like=target)
            else:
                x = self.enlarge(x)
                x = x if size is None else x[:, : size[0], : size[1]]
            x = x if skip is None else ops.concatenate([x, skip], axis=-1)
            x = self.attention1(x) if self.attention and skip is not None else x
            x = first(x, training=training)
        x = second(x, training=training)
        return self.attention2(x) if self.attention else x

    def compute_output_shape(
        self, x_shape: Shape, skip_shape: Shape | None = None, like_shape: Shape | None = None
    ) -> Shape:
        shape = skip_shape or like_shape or self.enlarge.compute_output_shape(x_shape)
        return (*shape[:-1], self.filters)

    def reach(self, x: Reach, skip: Reach | None = None, like: Reach | None = None) -> Reach:
        fine = skip or like
        pixels = max(x.pixels, fine.pixels) if fine else x.pixels
        pixels += x.step if self.interpolation == "bilinear" else 0
        step = fine.step if fine else x.step / 2
        return Reach(math.inf if self.attention else pixels, step).window(3).window(3)


def _is_twice(large: Sequence[Any], small: Sequence[Any]) -> bool:
    """Returns whether both sizes are known and one is twice the other."""
    return all(isinstance(a, int) and isinstance(b, int) and a == 2 * b for a, b in zip(large, small, strict=True))


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
        aligned_factor: None resizes to `like`. A number upsamples by this factor with aligned corners, then crops to
            `like`, as segmentation-models-pytorch does, which suits encoders that round sizes up.
        align_corners: Whether to resize to `like` with aligned corners, see `Resize`.
        kernel_initializer: Initializer of the kernel.

    Call arguments:
        x: Features, `(N, H, W, C)`.
        like: Tensor `(N, H', W', ...)` whose size the output takes, usually the image. None keeps the size.

    Returns:
        float32 `(N, H', W', num_classes)`: logits, or probabilities from 0 to 1.

    Raises:
        ValueError: If the activation is invalid, or the upsampled scores are smaller than `like`.

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
            height, width = ops.shape(like)[1:3]
            x = self.resize(x)[:, :height, :width]
        return keras.activations.get(self.activation)(x)

    def compute_output_shape(self, x_shape: Shape, like_shape: Shape | None = None) -> Shape:
        size = (x_shape if like_shape is None else like_shape)[1:3]
        for have, want in zip(x_shape[1:3], size, strict=True):
            if self.aligned_factor and have and want and have * self.aligned_factor < want:
                raise ValueError(
                    f"{self.name}: {self.aligned_factor} times {have} pixels are fewer than the {want} of the image: "
                    "align_corners needs an encoder that rounds sizes up"
                )
        return (x_shape[0], *size, self.num_classes)

    def reach(self, x: Reach, like: Reach | None = None) -> Reach:
        x = x.window(self.kernel_size)
        return Reach(x.pixels + x.step, like.step) if like and x.step > 1 else x
