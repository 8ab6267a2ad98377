"""The decoder of FCN: coarse scores are added to finer ones, then upsampled to the image in one step."""

from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import Conv2D
from kseg.layers.decoder import check_activation
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize
from kseg.layers.transpose import TransposeUpsampling2D


@keras.saving.register_keras_serializable(package="kseg")
class ScoreFusion(ConfiguredLayer):
    """Score skip features and add the upsampled coarse scores, as FCN-16s and FCN-8s do.

    The coarse scores are upsampled by two, so that pixel i covers pixels 2i and 2i + 1 of the skip features, however
    odd sizes were rounded, and cropped to the size of the skip features. Their border is first extended by one pixel,
    so that the scores do not fade there. The scores of the skip features start at zero, so that the model starts as
    the coarser one.

    Args:
        num_classes: Number of channels of the scores.
        learnable: Whether to upsample by a transposed convolution that is initialized to bilinear interpolation. False
            uses fixed bilinear interpolation.
        scale: Factor on the skip features, for training all skips at once.

    Call arguments:
        coarse: Scores `(N, H, W, num_classes)`.
        skip: Features `(N, H', W', C)`, where H is H' / 2 rounded down or up, and W likewise.

    Returns:
        Scores `(N, H', W', num_classes)`.

    Raises:
        ValueError: If the sizes or the number of channels do not fit.

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
        self.score = Conv2D(
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

    def build(self, coarse_shape: Shape, skip_shape: Shape) -> None:
        self.compute_output_shape(coarse_shape, skip_shape)  # checks the channels and known sizes
        self.score.build(skip_shape)
        self.enlarge.build(coarse_shape)

    def call(self, coarse: Any, skip: Any) -> Any:
        self.compute_output_shape(coarse.shape, skip.shape)  # checks known sizes
        return _enlarged(coarse, self.enlarge, 2, skip) + self.score(skip if self.scale == 1 else skip * self.scale)

    def compute_output_shape(self, coarse_shape: Shape, skip_shape: Shape) -> Shape:
        if coarse_shape[-1] != self.num_classes:
            raise ValueError(
                f"{self.name}: the coarse scores must have {self.num_classes} channels, got {coarse_shape[-1]}"
            )
        for small, large in zip(coarse_shape[1:3], skip_shape[1:3], strict=True):
            if small and large and abs(2 * small - large) > 1:
                raise ValueError(
                    f"{self.name}: the coarse scores must have half the size of the skip features, got "
                    f"{tuple(coarse_shape[1:3])} and {tuple(skip_shape[1:3])}"
                )
        return (*skip_shape[:-1], self.num_classes)

    def reach(self, coarse: Reach, skip: Reach) -> Reach:
        return Reach(max(coarse.pixels + coarse.step, skip.pixels), skip.step)


@keras.saving.register_keras_serializable(package="kseg")
class ScoreUpsampling(ConfiguredLayer):
    """Upsample scores to the image in one step: the last layer of FCN, computed in float32.

    The scores are upsampled bilinearly by their stride, so that pixel i covers the image pixels from stride * i on,
    however odd sizes were rounded, and cropped to the image. Their border is first extended by one pixel. This is the
    paper's transposed convolution with a fixed bilinear kernel, but the scores do not fade at the border.

    Args:
        stride: Stride of the scores with respect to the image, an even number.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.

    Call arguments:
        scores: Logits `(N, H, W, num_classes)`.
        like: Tensor `(N, H', W', ...)`, usually the image, where H is H' / stride rounded down or up.

    Returns:
        float32 `(N, H', W', num_classes)`: logits, or probabilities from 0 to 1.

    Example:
        >>> import numpy as np
        >>> scores, image = np.zeros((1, 3, 4, 2), "float32"), np.zeros((1, 21, 30, 3), "uint8")
        >>> tuple(ScoreUpsampling(8)(scores, like=image).shape)
        (1, 21, 30, 2)
    """

    def __init__(self, stride: int, *, activation: str | None = None, **kwargs: Any):
        super().__init__(**kwargs | {"dtype": "float32"})
        self.stride = stride
        self.activation = activation
        self.enlarge = Resize(factor=stride, dtype="float32", name="enlarge")

    def build(self, scores_shape: Shape, like_shape: Shape) -> None:
        check_activation(self, self.activation, scores_shape[-1] or 0)

    def call(self, scores: Any, like: Any) -> Any:
        return keras.activations.get(self.activation)(_enlarged(scores, self.enlarge, self.stride, like))

    def compute_output_shape(self, scores_shape: Shape, like_shape: Shape) -> Shape:
        return (*like_shape[:3], scores_shape[-1])

    def reach(self, scores: Reach, like: Reach) -> Reach:
        return Reach(scores.pixels + scores.step, like.step)


def _enlarged(scores: Any, enlarge: Any, factor: int, like: Any) -> Any:
    """Extends the border by one pixel, upsamples, and crops to the size of `like`."""
    height, width = ops.shape(like)[1:3]
    scores = ops.concatenate([scores[:, :1], scores, scores[:, -1:]], axis=1)
    scores = ops.concatenate([scores[:, :, :1], scores, scores[:, :, -1:]], axis=2)
    return enlarge(scores)[:, factor : height + factor, factor : width + factor]
