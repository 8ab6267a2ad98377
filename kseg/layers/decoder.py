"""From features back to the image's size: U-Net's block, FCN's fusion and enlargement of scores, and the head."""

from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import ConvNormAct
from kseg.layers.resize import Resize
from kseg.layers.transpose import TransposeUpsampling2D


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


@keras.saving.register_keras_serializable(package="kseg")
class ScoreFusion(keras.layers.Layer):
    """Add a finer layer's scores to coarser ones, as FCN-16s and FCN-8s do.

    The coarse scores are enlarged twice, so that their pixel i covers the skip's pixels 2i and 2i + 1 whatever way odd
    sizes were rounded, and cut to the skip's size. The border's scores are continued by one pixel first, so nothing
    darkens there. The skip's scores start at zero: the net starts as the coarser one.

    Args:
        num_classes: number of channels of the scores.
        learnable: True enlarges by a transposed convolution that starts bilinear, False stays bilinear.
        scale: multiplies the skip's features before they are scored, for training all skips at once.

    Call arguments:
        coarse: `(N, H, W, num_classes)`, scores.
        skip: `(N, H', W', C)`, features, where H is half of H', rounded down or up, and W likewise.

    Returns:
        `(N, H', W', num_classes)`, scores.

    Raises:
        ValueError: when the sizes or the number of channels do not fit.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038

    Example:
        >>> import numpy as np
        >>> coarse, skip = np.zeros((1, 3, 4, 2), "float32"), np.zeros((1, 5, 8, 16), "float32")
        >>> tuple(ScoreFusion(num_classes=2)(coarse, skip).shape)
        (1, 5, 8, 2)
    """

    def __init__(self, num_classes: int, *, learnable: bool = True, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.learnable = learnable
        self.scale = scale
        self.score = keras.layers.Conv2D(
            num_classes,
            1,
            kernel_initializer="zeros",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="score",
        )
        self.enlarge = (
            TransposeUpsampling2D(num_classes, dtype=self.dtype_policy, name="enlarge")
            if learnable
            else Resize(factor=2, dtype=self.dtype_policy, name="enlarge")
        )

    def build(self, coarse_shape, skip_shape):
        self._check(coarse_shape, skip_shape)
        self.score.build(skip_shape)
        self.enlarge.build(coarse_shape)

    def call(self, coarse, skip):
        self._check(coarse.shape, skip.shape)
        return _enlarged(coarse, self.enlarge, 2, skip) + self.score(skip if self.scale == 1 else skip * self.scale)

    def compute_output_shape(self, coarse_shape, skip_shape):
        return (*skip_shape[:-1], self.num_classes)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "learnable": self.learnable,
            "scale": self.scale,
        }

    def _check(self, coarse, skip):
        if coarse[-1] != self.num_classes:
            raise ValueError(f"{self.name}: expected {self.num_classes} channels of coarse scores, got {coarse[-1]}")
        for small, large in zip(coarse[1:3], skip[1:3], strict=True):
            if isinstance(small, int) and isinstance(large, int) and abs(2 * small - large) > 1:
                raise ValueError(
                    f"{self.name}: the coarse scores must be half the skip's size, got {tuple(coarse[1:3])} and "
                    f"{tuple(skip[1:3])}"
                )


@keras.saving.register_keras_serializable(package="kseg")
class ScoreUpsampling(keras.layers.Layer):
    """Scores to the image's size at once: FCN's last step, in float32.

    The scores are enlarged bilinearly by their stride, so that pixel i covers the image's pixels from stride * i on
    whatever way odd sizes were rounded, and cut to the image's size; their border is continued by one pixel first. That
    is the paper's transposed convolution with a fixed bilinear kernel, without its dark border.

    Args:
        stride: of the scores with respect to the image, even.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.

    Call arguments:
        scores: `(N, H, W, num_classes)`, logits.
        like: a tensor `(N, H', W', ...)`, usually the image, where H is H' / stride, rounded down or up.

    Returns:
        float32 `(N, H', W', num_classes)`: logits, or probabilities in 0 to 1.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038

    Example:
        >>> import numpy as np
        >>> scores, image = np.zeros((1, 3, 4, 2), "float32"), np.zeros((1, 21, 30, 3), "uint8")
        >>> tuple(ScoreUpsampling(8)(scores, like=image).shape)
        (1, 21, 30, 2)
    """

    def __init__(self, stride: int, *, activation: str | None = None, **kwargs: Any):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.stride = stride
        self.activation = activation
        self.enlarge = Resize(factor=stride, dtype="float32", name="enlarge")

    def build(self, scores_shape, like_shape):
        _check_activation(self, self.activation, scores_shape[-1])

    def call(self, scores, like):
        x = _enlarged(scores, self.enlarge, self.stride, like)
        return x if self.activation is None else keras.activations.get(self.activation)(x)

    def compute_output_shape(self, scores_shape, like_shape):
        return (*like_shape[:3], scores_shape[-1])

    def compute_output_spec(self, scores, like):
        return keras.KerasTensor(self.compute_output_shape(scores.shape, like.shape), dtype="float32")

    def get_config(self):
        return super().get_config() | {"stride": self.stride, "activation": self.activation}


def _enlarged(scores, enlarge, factor, like):
    """Continues the border by one pixel, enlarges, and cuts what belongs to `like`."""
    height, width = ops.shape(like)[1:3]
    scores = ops.concatenate([scores[:, :1], scores, scores[:, -1:]], axis=1)
    scores = ops.concatenate([scores[:, :, :1], scores, scores[:, :, -1:]], axis=2)
    return enlarge(scores)[:, factor : height + factor, factor : width + factor]


def _check_activation(layer, activation, num_classes):
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
            segmentation-models-pytorch does; None resizes to `like`.

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
        _check_activation(self, activation, num_classes)
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
            height, width = ops.shape(like)[1:3]
            x = self.resize(x)[:, :height, :width]
        return x if self.activation is None else keras.activations.get(self.activation)(x)

    def compute_output_shape(self, x_shape, like_shape=None):
        size = (x_shape if like_shape is None else like_shape)[1:3]
        return (x_shape[0], *size, self.num_classes)

    def compute_output_spec(self, x, like=None):
        shape = self.compute_output_shape(x.shape, None if like is None else like.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "kernel_size": self.kernel_size,
            "activation": self.activation,
            "aligned_factor": self.aligned_factor,
        }
