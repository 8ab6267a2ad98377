"""FCN's way back to the image's size: coarse scores are fused with finer ones, then enlarged at once."""

from typing import Any

import keras
from keras import ops

from kseg.layers.decoder import check_activation
from kseg.layers.resize import Resize
from kseg.layers.transpose import TransposeUpsampling2D


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
        check_activation(self, self.activation, scores_shape[-1])

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
