"""Atrous spatial pyramid pooling: one feature map seen at several scales. V3 concatenates, V2 sums scores."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import ConvNormAct


@keras.saving.register_keras_serializable(package="kseg")
class ASPP(keras.layers.Layer):
    """Atrous spatial pyramid pooling as in DeepLab V3.

    A 1x1 convolution, 3x3 convolutions at several rates and the mean of the whole image, each with batch normalisation
    and ReLU, are concatenated and projected by a 1x1 convolution.

    Args:
        filters: number of channels of each branch and of the output.
        rates: dilation rates of the 3x3 branches; (6, 12, 18) suits output stride 16, twice that output stride 8.
        separable: whether the 3x3 convolutions are depthwise ones followed by 1x1, as V3+ may have them.
        dropout: share of the output's values dropped while training.
        seed: of the dropout.

    Returns:
        `(N, H, W, filters)`.

    Reference:
        Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, https://arxiv.org/abs/1706.05587

    Example:
        >>> import numpy as np
        >>> tuple(ASPP(filters=4, rates=(1, 2))(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 4)
    """

    def __init__(
        self,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        *,
        separable: bool = False,
        dropout: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.rates = tuple(rates)
        self.separable = separable
        self.dropout = dropout
        self.seed = seed

        def conv(name: str, kernel_size: int = 1, rate: int = 1) -> ConvNormAct:
            return ConvNormAct(
                filters,
                kernel_size,
                dilation_rate=rate,
                separable=separable and kernel_size > 1,
                dtype=self.dtype_policy,
                name=name,
            )

        self.branches = [conv("point"), *(conv(f"branch_{i}", 3, rate) for i, rate in enumerate(self.rates, start=1))]
        self.image = conv("image")
        self.project = conv("project")
        self.drop = keras.layers.Dropout(dropout, seed=seed, dtype=self.dtype_policy, name="dropout")

    def build(self, x_shape):
        _warn_of_rates(self, x_shape)
        for branch in (*self.branches, self.image):
            branch.build(x_shape)
        self.project.build((*x_shape[:-1], self.filters * (len(self.branches) + 1)))

    def call(self, x, training=None):
        _warn_of_rates(self, x.shape)
        maps = [branch(x, training=training) for branch in self.branches]
        # In float32: the sum over a large map leaves float16's range.
        mean = ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True)  # (N, 1, 1, C)
        mean = self.image(mean, training=training)
        maps.append(mean + ops.zeros_like(maps[0]))  # its bilinear enlargement is constant
        x = self.project(ops.concatenate(maps, axis=-1), training=training)
        return self.drop(x, training=training)

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "rates": self.rates,
            "separable": self.separable,
            "dropout": self.dropout,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="kseg")
class AtrousScoreSum(keras.layers.Layer):
    """Atrous spatial pyramid pooling as in DeepLab V2: each branch scores the classes, and the scores are summed.

    On ResNet a branch is one 3x3 convolution straight to the classes. On VGG it is the classifier's fc6 (3x3, the
    rate), fc7 and fc8 (1x1), each but the last with ReLU and dropout; with a single rate that is V1's LargeFOV.

    Args:
        num_classes: number of channels of the scores.
        rates: dilation rates of the branches' 3x3 convolutions.
        hidden: channels of the convolutions before the scoring one, () for none.
        dropout: share of the hidden values dropped while training.

    Returns:
        `(N, H, W, num_classes)`, scores.

    Reference:
        Chen et al., DeepLab, https://arxiv.org/abs/1606.00915

    Example:
        >>> import numpy as np
        >>> tuple(AtrousScoreSum(4, rates=(1, 2))(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 4)
    """

    def __init__(
        self,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.rates = tuple(rates)
        self.hidden = tuple(hidden)
        self.dropout = dropout
        self.branches = [self._branch(f"branch_{i}", rate) for i, rate in enumerate(self.rates, start=1)]

    def _branch(self, name: str, rate: int) -> list[keras.layers.Layer]:
        *hidden, (last, width) = enumerate((*self.hidden, self.num_classes))
        layers: list[keras.layers.Layer] = []
        for index, channels in hidden:
            layers.append(
                ConvNormAct(
                    channels,
                    3 if index == 0 else 1,
                    dilation_rate=rate if index == 0 else 1,
                    normalization=False,
                    dtype=self.dtype_policy,
                    name=f"{name}_hidden_{index}",
                )
            )
            layers.append(keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=f"{name}_dropout_{index}"))
        layers.append(
            keras.layers.Conv2D(
                width,
                1 if last else 3,
                dilation_rate=1 if last else rate,
                padding="same",
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=f"{name}_score",
            )
        )
        return layers

    def build(self, x_shape):
        _warn_of_rates(self, x_shape)
        for branch in self.branches:
            shape = x_shape
            for layer in branch:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)

    def call(self, x, training=None):
        _warn_of_rates(self, x.shape)
        scores = []
        for branch in self.branches:
            y = x
            for layer in branch:
                y = layer(y, training=training) if isinstance(layer, keras.layers.Dropout) else layer(y)
            scores.append(y)
        return sum(scores[1:], scores[0])

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.num_classes)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "rates": self.rates,
            "hidden": self.hidden,
            "dropout": self.dropout,
        }


def _warn_of_rates(layer: Any, x_shape: Sequence[int | None]) -> None:
    """Once a layer, as soon as a size is known: on building or, where the image's size varies, on the first call."""
    height, width = x_shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int) or getattr(layer, "looked_at_rates", False):
        return
    layer.looked_at_rates = True
    if beyond := [rate for rate in layer.rates if rate >= min(height, width)]:
        warnings.warn(
            f"{layer.name}: rates {beyond} exceed the feature map of {height}x{width}: along that side their kernels "
            "see one pixel and padding; take smaller rates or larger images",
            stacklevel=2,
        )
