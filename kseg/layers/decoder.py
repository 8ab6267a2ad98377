"""From features back to the image's size: U-Net's block, and the head that turns features into scores."""

from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import ConvNormAct
from kseg.layers.resize import Resize


@keras.saving.register_keras_serializable(package="kseg")
class UNetBlock(keras.layers.Layer):
    """Enlarge by copying pixels, concatenate the skip, convolve twice (3x3): one step up U-Net's right side.

    Args:
        filters: number of channels of both convolutions.
        normalization: False leaves batch normalisation out.
        activation: after each convolution.
        doubling: True enlarges by exactly two and cuts to the skip, as segmentation-models-pytorch does, where odd
            sizes were rounded up; False stretches to the skip, however they were rounded.

    Call arguments:
        x: `(N, H, W, C)`, the coarser features.
        skip: `(N, H', W', C')`, the encoder's finer features, any size; without it x doubles its size.
        like: a tensor `(N, H', W', ...)` to whose size the doubled x is cut, where there is no skip.

    Returns:
        `(N, H', W', filters)`.

    Reference:
        Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597; this variant, for pretrained encoders, pads its
        convolutions and enlarges without learning.

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
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.normalization = normalization
        self.activation = keras.activations.get(activation)
        self.doubling = doubling
        self.enlarge = Resize(factor=2, interpolation="nearest", dtype=self.dtype_policy, name="enlarge")
        self.match = Resize(interpolation="nearest", dtype=self.dtype_policy, name="match")
        self.convs = [
            ConvNormAct(
                filters, normalization=normalization, activation=activation, dtype=self.dtype_policy, name=f"conv{i}"
            )
            for i in (1, 2)
        ]

    def build(self, x_shape, skip_shape=None, like_shape=None):
        channels = x_shape[-1] + (0 if skip_shape is None else skip_shape[-1])
        self.convs[0].build((None, None, None, channels))
        self.convs[1].build((None, None, None, self.filters))

    def call(self, x, skip=None, like=None, training=None):
        if skip is not None and not self.doubling:
            x = self.match(x, like=skip)
        else:
            x = self.enlarge(x)
            if (target := like if skip is None else skip) is not None:
                height, width = ops.shape(target)[1:3]
                x = x[:, :height, :width]
        if skip is not None:
            x = ops.concatenate([x, skip], axis=-1)
        for conv in self.convs:
            x = conv(x, training=training)
        return x

    def compute_output_shape(self, x_shape, skip_shape=None, like_shape=None):
        shape = skip_shape or like_shape or self.enlarge.compute_output_shape(x_shape)
        return (*shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "doubling": self.doubling,
        }


def check_activation(layer: keras.layers.Layer, activation: str | None, num_classes: int) -> None:
    """Refuses an activation that scores of so many classes cannot end in."""
    if activation not in (None, "softmax", "sigmoid"):
        raise ValueError(f'{layer.name}: activation is None, "softmax" or "sigmoid", got {activation!r}')
    if activation == "softmax" and num_classes == 1:
        raise ValueError(f"{layer.name}: softmax over one class is always 1: use sigmoid, or two classes")


@keras.saving.register_keras_serializable(package="kseg")
class SegmentationHead(keras.layers.Layer):
    """Features to scores of the classes, at the image's size.

    Computes in float32 whatever the dtype policy: losses on float16 logits overflow. The scores are enlarged before the
    activation, so that probabilities still sum to one and boundaries are sharp.

    Args:
        num_classes: number of output channels; 1 for binary segmentation.
        kernel_size: of the convolution.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.
        aligned_factor: enlarges by this factor with the corner pixels' centres aligned, then cuts to `like`, as
            segmentation-models-pytorch does, for encoders that round sizes up; None resizes to `like`.

    Call arguments:
        x: `(N, H, W, C)`, features.
        like: optional, a tensor `(N, H', W', ...)`, usually the image, whose size the output takes.

    Returns:
        float32 `(N, H', W', num_classes)`: logits, or probabilities in 0 to 1.

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
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_activation(self, activation, num_classes)
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.activation = activation
        self.aligned_factor = aligned_factor
        self.conv = keras.layers.Conv2D(
            num_classes, kernel_size, padding="same", data_format="channels_last", dtype="float32", name="conv"
        )
        self.resize = Resize(
            factor=aligned_factor, align_corners=aligned_factor is not None, dtype="float32", name="resize"
        )

    def build(self, x_shape, like_shape=None):
        self.conv.build(x_shape)

    def call(self, x, like=None):
        x = self.conv(x)
        if like is not None and self.aligned_factor is None:
            x = self.resize(x, like=like)
        elif like is not None:
            self._check(x.shape, like.shape)
            height, width = ops.shape(like)[1:3]
            x = self.resize(x)[:, :height, :width]
        return x if self.activation is None else keras.activations.get(self.activation)(x)

    def compute_output_shape(self, x_shape, like_shape=None):
        size = (x_shape if like_shape is None else like_shape)[1:3]
        return (x_shape[0], *size, self.num_classes)

    def compute_output_spec(self, x, like=None):
        if like is not None and self.aligned_factor is not None:
            self._check(x.shape, like.shape)
        shape = self.compute_output_shape(x.shape, None if like is None else like.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def _check(self, x_shape, like_shape):
        for have, want in zip(x_shape[1:3], like_shape[1:3], strict=True):
            if isinstance(have, int) and isinstance(want, int) and have * (self.aligned_factor or 1) < want:
                raise ValueError(
                    f"{self.name}: {self.aligned_factor} times {have} pixels do not reach the image's {want}: "
                    "aligned corners need an encoder that rounds sizes up"
                )

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "kernel_size": self.kernel_size,
            "activation": self.activation,
            "aligned_factor": self.aligned_factor,
        }
