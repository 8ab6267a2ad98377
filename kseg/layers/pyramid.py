"""Atrous spatial pyramid pooling: one feature map seen at several scales."""

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
        dropout: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.rates = tuple(rates)
        self.dropout = dropout
        self.seed = seed
        if len(set(self.rates)) < len(self.rates):
            raise ValueError(f"ASPP: every rate only once, got {self.rates}")

        def conv(name: str, kernel_size: int = 1, rate: int = 1) -> ConvNormAct:
            return ConvNormAct(filters, kernel_size, dilation_rate=rate, dtype=self.dtype_policy, name=name)

        self.branches = [conv("point"), *(conv(f"rate_{rate}", 3, rate) for rate in self.rates)]
        self.image = conv("image")
        self.project = conv("project")
        self.drop = keras.layers.Dropout(dropout, seed=seed, dtype=self.dtype_policy, name="dropout")

    def build(self, x_shape):
        for branch in (*self.branches, self.image):
            branch.build(x_shape)
        self.project.build((*x_shape[:-1], self.filters * (len(self.branches) + 1)))

    def call(self, x, training=None):
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
            "dropout": self.dropout,
            "seed": self.seed,
        }
