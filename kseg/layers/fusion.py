"""The decoder of SegFormer: features of all strides are projected to one width, enlarged and mixed."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import ConvNormAct
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize


@keras.saving.register_keras_serializable(package="kseg")
class PyramidFusion(ConfiguredLayer):
    """Project features to one number of channels, enlarge them to the finest, concatenate and mix them per pixel.

    The 1x1 convolution that mixes them is computed before the features are enlarged. Both are linear, so the result is
    the same, with about a third of the multiplications, and without the memory for the concatenation.

    Args:
        filters: Number of channels of each projection and of the output.

    Call arguments:
        features: List of `(N, H, W, C)`, finest first, of any sizes and numbers of channels.

    Returns:
        `(N, H, W, filters)` at the size of the first feature, after batch normalization and ReLU.

    Reference:
        Xie et al., SegFormer, https://arxiv.org/abs/2105.15203

    Example:
        >>> import numpy as np
        >>> features = [np.zeros((1, 5, 7, 8), "float32"), np.zeros((1, 3, 4, 16), "float32")]
        >>> tuple(PyramidFusion(4)(features).shape)
        (1, 5, 7, 4)
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.projections: list[Any] = []
        self.fuse = ConvNormAct(filters, 1, dtype=self.dtype_policy, name="fuse")
        self.enlarge = Resize(dtype=self.dtype_policy, name="enlarge")

    def build(self, features_shape: Sequence[Shape]) -> None:
        self.projections = [
            keras.layers.Dense(self.filters, dtype=self.dtype_policy, name=f"project_{index}")
            for index in range(1, len(features_shape) + 1)
        ]
        for projection, shape in zip(self.projections, features_shape, strict=True):
            projection.build(tuple(shape))
        self.fuse.build((None, None, None, self.filters * len(features_shape)))

    def call(self, features: Sequence[Any], training: bool | None = None) -> Any:
        conv = self.fuse.conv
        kernels = ops.split(ops.convert_to_tensor(conv.kernel)[0, 0], len(features), axis=0)
        total: Any = None
        # The features are concatenated with the coarsest first, as in the published weights.
        for feature, projection, kernel in zip(features, self.projections, reversed(kernels), strict=True):
            x = ops.matmul(projection(feature), kernel)
            total = x if total is None else total + self.enlarge(x, like=total)
        return self.fuse.finish(total + ops.convert_to_tensor(conv.bias) if conv.use_bias else total, training)

    def products(self, shapes: Sequence[Shape]) -> int:
        """Counts the multiplications of the mixing as if after enlarging, for `kseg.zoo.multiply_adds`."""
        return math.prod(side or 1 for side in shapes[0][1:3]) * len(shapes) * self.filters**2

    def compute_output_shape(self, features_shape: Sequence[Shape]) -> Shape:
        return (*features_shape[0][:-1], self.filters)

    def reach(self, *features: Reach) -> Reach:
        finest, *coarser = features
        return Reach(max(finest.pixels, *(each.pixels + each.step for each in coarser), 0), finest.step)
