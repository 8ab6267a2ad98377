"""Atrous spatial pyramid pooling: DeepLab V3 concatenates features, DeepLab V2 sums scores."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import Conv2D, ConvNormAct
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="kseg")
class ASPP(ConfiguredLayer):
    """Atrous spatial pyramid pooling of DeepLab V3.

    A 1x1 convolution, 3x3 convolutions at several rates and the mean of the whole image, each with batch normalization
    and ReLU, are concatenated and projected by a 1x1 convolution.

    Args:
        filters: Number of channels of each branch and of the output.
        rates: Dilation rates of the 3x3 branches. (6, 12, 18) suits output stride 16, twice that suits output stride 8.
        separable: Whether the 3x3 convolutions are depthwise convolutions followed by 1x1 convolutions, as in V3+.
        dropout: Fraction of the output values to drop during training.
        seed: Random seed of the dropout.

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

    def build(self, x_shape: Shape) -> None:
        _warn_of_rates(self, x_shape)
        for branch in (*self.branches, self.image):
            branch.build(x_shape)
        self.project.build((*x_shape[:-1], self.filters * (len(self.branches) + 1)))

    def call(self, x: Any, training: bool | None = None) -> Any:
        _warn_of_rates(self, x.shape)
        maps = [branch(x, training=training) for branch in self.branches]
        # In float32, because the sum over a large map overflows float16.
        mean = ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True)  # (N, 1, 1, C)
        mean = self.image(mean, training=training)
        maps.append(mean + ops.zeros_like(maps[0]))  # the upsampled mean is constant
        x = self.project(ops.concatenate(maps, axis=-1), training=training)
        return self.drop(x, training=training)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.filters)

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class AtrousScoreSum(ConfiguredLayer):
    """Atrous spatial pyramid pooling of DeepLab V2: the sum of the class scores of several branches.

    On ResNet a branch is a 3x3 convolution that computes the scores. On VGG it is the classifier's fc6 (3x3 at the
    dilation rate), fc7 and fc8 (1x1), with ReLU and dropout after fc6 and fc7. A single rate gives V1's LargeFOV.

    Args:
        num_classes: Number of channels of the scores.
        rates: Dilation rates of the 3x3 convolutions of the branches.
        hidden: Numbers of channels of the convolutions before the scores; () for none.
        dropout: Fraction of the hidden values to drop during training.

    Returns:
        Scores `(N, H, W, num_classes)`.

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
        layers: list[keras.layers.Layer] = []
        size: dict[str, Any] = {"kernel_size": 3, "dilation_rate": rate}
        for index, channels in enumerate(self.hidden):
            conv = ConvNormAct(
                channels, **size, normalization=False, dtype=self.dtype_policy, name=f"{name}_hidden_{index}"
            )
            drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=f"{name}_dropout_{index}")
            layers += [conv, drop]
            size = {"kernel_size": 1, "dilation_rate": 1}
        score = Conv2D(
            self.num_classes,
            **size,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=f"{name}_score",
        )
        return [*layers, score]

    def build(self, x_shape: Shape) -> None:
        _warn_of_rates(self, x_shape)
        for branch in self.branches:
            shape = x_shape
            for layer in branch:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        _warn_of_rates(self, x.shape)
        scores = []
        for branch in self.branches:
            y = x
            for layer in branch:
                y = layer(y, training=training) if isinstance(layer, keras.layers.Dropout) else layer(y)
            scores.append(y)
        return sum(scores[1:], scores[0])

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.num_classes)

    def reach(self, x: Reach) -> Reach:
        return x.window(3, rate=max(self.rates))


def _warn_of_rates(layer: Any, x_shape: Shape) -> None:
    """Warns once per layer: when it is built or, if the image size varies, when it is first called."""
    height, width = x_shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int) or getattr(layer, "checked_rates", False):
        return
    layer.checked_rates = True
    if beyond := [rate for rate in layer.rates if rate >= min(height, width)]:
        warnings.warn(
            f"{layer.name}: rates {beyond} exceed the feature map of {height}x{width}, so that their kernels cover one "
            "pixel and padding: use smaller rates or larger images",
            stacklevel=2,
        )
