"""Fusions of PIDNet, in which one branch decides how two others are mixed at each pixel."""

from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import ConvNormAct
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.preactivation import NormActConv
from kseg.layers.resize import Resize


@keras.saving.register_keras_serializable(package="kseg")
class PixelAttentionFusion(ConfiguredLayer):
    """Replace fine features by enlarged coarse ones at the pixels where the two agree.

    The weight of the coarse features is the sigmoid of the product of two projections.

    Args:
        filters: Number of channels of the projections.

    Call arguments:
        fine: Features `(N, H, W, C)`.
        coarse: Features `(N, H', W', C)`.

    Returns:
        `(N, H, W, C)`.

    Reference:
        Xu, Xiong, Bhattacharyya: PIDNet, 2023, section 3.2, https://arxiv.org/abs/2206.02066

    Example:
        >>> import numpy as np
        >>> fine, coarse = np.zeros((1, 5, 7, 3), "float32"), np.zeros((1, 3, 4, 3), "float32")
        >>> tuple(PixelAttentionFusion(2)(fine, coarse).shape)
        (1, 5, 7, 3)
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.project_fine, self.project_coarse = (
            ConvNormAct(filters, 1, activation=None, dtype=self.dtype_policy, name=name) for name in ("fine", "coarse")
        )
        self.enlarge = Resize(dtype=self.dtype_policy, name="enlarge")

    def build(self, fine_shape: Shape, coarse_shape: Shape) -> None:
        self.project_fine.build(fine_shape)
        self.project_coarse.build(coarse_shape)

    def call(self, fine: Any, coarse: Any, training: bool | None = None) -> Any:
        key = self.enlarge(self.project_coarse(coarse, training=training), like=fine)
        query = self.project_fine(fine, training=training)
        weight = ops.sigmoid(ops.sum(query * key, axis=-1, keepdims=True))
        return fine + weight * (self.enlarge(coarse, like=fine) - fine)

    def compute_output_shape(self, fine_shape: Shape, coarse_shape: Shape) -> Shape:
        return fine_shape

    def reach(self, fine: Reach, coarse: Reach) -> Reach:
        return Reach(max(fine.pixels, coarse.pixels + coarse.step), fine.step)


@keras.saving.register_keras_serializable(package="kseg")
class BoundaryAttentionFusion(ConfiguredLayer):
    """Mix detailed features at boundaries with features of the context elsewhere, and convolve the mixture.

    The sigmoid of the features of the boundary branch is the weight of the detailed features, channel by channel.

    Args:
        filters: Number of channels of the output.
        light: Whether to use two 1x1 convolutions, whose inputs also contain all of the detailed and all of the context
            features, instead of a 3x3 convolution of the mixture.

    Call arguments:
        detail: Features `(N, H, W, C)`.
        context: Features of the same shape.
        boundary: Features of the same shape.

    Returns:
        `(N, H, W, filters)`.

    Reference:
        Xu, Xiong, Bhattacharyya: PIDNet, 2023, section 3.4, https://arxiv.org/abs/2206.02066

    Example:
        >>> import numpy as np
        >>> x = np.zeros((1, 5, 7, 3), "float32")
        >>> tuple(BoundaryAttentionFusion(4)(x, x, x).shape)
        (1, 5, 7, 4)
    """

    def __init__(self, filters: int, *, light: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.light = light
        if light:
            self.detail, self.context = (
                ConvNormAct(filters, 1, activation=None, dtype=self.dtype_policy, name=name)
                for name in ("detail", "context")
            )
        else:
            self.mixed = NormActConv(filters, dtype=self.dtype_policy, name="mixed")

    def build(self, detail_shape: Shape, context_shape: Shape, boundary_shape: Shape) -> None:
        for layer in (self.detail, self.context) if self.light else (self.mixed,):
            layer.build(detail_shape)

    def call(self, detail: Any, context: Any, boundary: Any, training: bool | None = None) -> Any:
        weight = ops.sigmoid(boundary)
        if not self.light:
            return self.mixed(weight * detail + (1 - weight) * context, training=training)
        x = self.detail((1 - weight) * context + detail, training=training)
        return x + self.context(context + weight * detail, training=training)

    def compute_output_shape(self, detail_shape: Shape, context_shape: Shape, boundary_shape: Shape) -> Shape:
        return (*detail_shape[:-1], self.filters)

    def reach(self, detail: Reach, context: Reach, boundary: Reach) -> Reach:
        x = Reach(max(detail.pixels, context.pixels, boundary.pixels), detail.step)
        return x if self.light else x.window(3)
