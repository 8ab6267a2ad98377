"""A conditional random field as a layer, trained together with the model."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.initializers import Constant

from kseg.layers.decoder import check_activation
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize

WIDTHS = ("smoothness_xy", "appearance_xy", "appearance_rgb")


@keras.saving.register_keras_serializable(package="kseg")
class ConvCRF(ConfiguredLayer):
    """Sharpen scores along color edges: mean-field inference in a CRF that connects the pixels of a window.

    Each pixel receives the class probabilities of the pixels around it, weighted by nearness (smoothness kernel) and
    by nearness and similarity in color (appearance kernel). A kernel K is normalized by its sums in the window,
    n = K 1, as n^-1/2 K n^-1/2; the pixel itself is included. This is `kseg.inference.dense_crf` restricted to a
    window, with exact kernels. The strengths and widths of the kernels and the compatibility of the classes are
    weights, learned together with the model.

    Args:
        radius: Radius of the window, which has (2 * radius + 1)^2 cells.
        stride: Side of a cell in pixels. Messages pass between the means of cells, so that the window covers
            (2 * radius + 1) * stride pixels at 1 / stride^2 of the cost. 1 is exact.
        iterations: Number of mean-field iterations.
        smoothness: Initial strength of the smoothness kernel.
        smoothness_xy: Initial standard deviation of the smoothness kernel, in pixels.
        appearance: Initial strength of the appearance kernel.
        appearance_xy: Initial standard deviation of the appearance kernel in space, in pixels.
        appearance_rgb: Initial standard deviation of the appearance kernel in color, for values from 0 to 255.
        from_logits: Whether the scores are logits; False means probabilities.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.

    Call arguments:
        scores: `(N, H, W, C)`, logits or probabilities; one channel is binary.
        image: `(N, H, W, 3)`, 0 to 255; any number of channels.

    Returns:
        float32 `(N, H, W, C)`: logits, or probabilities from 0 to 1.

    Raises:
        ValueError: If an option is invalid, or the sizes of scores and image differ.

    Reference:
        Teichmann and Cipolla: Convolutional CRFs for Semantic Segmentation, 2018, https://arxiv.org/abs/1805.04777;
        Kraehenbuehl and Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, 2011,
        https://arxiv.org/abs/1210.5644

    Example:
        >>> import numpy as np
        >>> image = np.zeros((1, 1, 8, 3), "float32")
        >>> image[:, :, 4:] = 200                                          # two regions
        >>> scores = np.zeros((1, 1, 8, 2), "float32")
        >>> scores[0, 0, 0, 0] = scores[0, 0, 7, 1] = 5                    # scores only at their ends
        >>> refined = ConvCRF(radius=4, stride=1, smoothness=0)(scores, image)
        >>> ops.convert_to_numpy(refined).argmax(axis=-1).tolist()
        [[[0, 0, 0, 0, 1, 1, 1, 1]]]
    """

    def __init__(
        self,
        *,
        radius: int = 3,
        stride: int = 4,
        iterations: int = 5,
        smoothness: float = 3.0,
        smoothness_xy: float = 3.0,
        appearance: float = 4.0,
        appearance_xy: float = 67.0,
        appearance_rgb: float = 3.0,
        from_logits: bool = True,
        activation: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs | {"dtype": "float32"})
        self.radius, self.stride, self.iterations = radius, stride, iterations
        self.smoothness, self.smoothness_xy = smoothness, smoothness_xy
        self.appearance, self.appearance_xy, self.appearance_rgb = appearance, appearance_xy, appearance_rgb
        self.from_logits = from_logits
        self.activation = activation
        for name, least in (("radius", 0), ("stride", 1), ("iterations", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{self.name}: {name} must be {least} or more, got {getattr(self, name)}")
        for name in WIDTHS:
            if getattr(self, name) <= 0:
                raise ValueError(f"{self.name}: {name} must be positive, got {getattr(self, name)}")
        self.enlarge = Resize(factor=stride, dtype="float32", name="enlarge")

    def build(self, scores_shape: Shape, image_shape: Shape) -> None:
        channels = scores_shape[-1] or 0
        check_activation(self, self.activation, channels)
        for given, expected in zip(scores_shape[1:3], image_shape[1:3], strict=True):
            if given and expected and given != expected:
                raise ValueError(
                    f"{self.name}: scores of size {scores_shape[1:3]} do not fit an image of size {image_shape[1:3]}"
                )
        widths = [math.log(getattr(self, name)) for name in WIDTHS]
        self.strengths = self.add_weight((2,), Constant([self.smoothness, self.appearance]), name="strengths")
        self.log_widths = self.add_weight((3,), Constant(widths), name="log_widths")
        self.compatibility = self.add_weight((max(channels, 2),) * 2, "identity", name="compatibility")

    def call(self, scores: Any, image: Any) -> Any:
        scores, image = ops.cast(scores, "float32"), ops.cast(image, "float32")
        binary = scores.shape[-1] == 1
        unary = self._log_probabilities(scores)
        kernel = self._kernel(self._means(image))
        height, width = ops.shape(scores)[1:3]
        x = unary
        for _ in range(self.iterations):
            around = self._around(self._means(ops.softmax(x)))
            received = [ops.sum(k * q, axis=1) for k, q in zip(kernel, around, strict=True)]
            message = ops.matmul(sum(received[1:], start=received[0]), self.compatibility)
            x = unary + self.enlarge(message)[:, :height, :width]
        x = x[..., 1:] - x[..., :1] if binary else x
        return keras.activations.get(self.activation)(x)

    def _log_probabilities(self, scores: Any) -> Any:
        if self.from_logits:
            scores = ops.concatenate([ops.zeros_like(scores), scores], -1) if scores.shape[-1] == 1 else scores
            return ops.log_softmax(scores)
        scores = ops.concatenate([1 - scores, scores], -1) if scores.shape[-1] == 1 else scores
        return ops.log(ops.maximum(scores, 1e-7))

    def _means(self, x: Any) -> Any:
        """Means of the cells, `(N, ceil(H / stride), ceil(W / stride), C)`; incomplete ones repeat the border pixel."""
        stride = self.stride
        if stride == 1:
            return x
        for axis in (1, 2):
            before = (slice(None),) * axis
            count = (ops.shape(x)[axis] + stride - 1) // stride
            x = ops.concatenate([x, *[x[(*before, slice(-1, None))]] * (stride - 1)], axis=axis)
            parts = [x[(*before, slice(i, None, stride))][(*before, slice(count))] for i in range(stride)]
            x = sum(parts[1:], start=parts[0]) / stride
        return x

    def _kernel(self, image: Any) -> list[Any]:
        """Weights of the messages to each cell: for each row of the window, `(N, columns of the window, h, w, 1)`."""
        smooth_xy, near_xy, similar = (ops.exp(-2 * self.log_widths[i]) / 2 for i in range(3))  # 1 / (2 sigma^2)
        distances = np.square(self.stride * np.arange(-self.radius, self.radius + 1, dtype="float32"))
        columns = ops.convert_to_tensor(distances[:, None, None, None])
        center, inside = image[:, None], ops.ones_like(image[..., :1])
        smooth, appear = [], []
        for row, colors, here in zip(distances, self._around(image), self._around(inside), strict=True):
            difference = ops.sum(ops.square(colors - center), axis=-1, keepdims=True)
            smooth.append(here * ops.exp(-smooth_xy * (columns + float(row))))
            appear.append(here * ops.exp(-near_xy * (columns + float(row)) - similar * difference))
        parts = []
        for strength, kernel in ((self.strengths[0], smooth), (self.strengths[1], appear)):
            sums = [ops.sum(k, axis=1) for k in kernel]
            norm = ops.rsqrt(sum(sums[1:], start=sums[0]))
            scaled = (strength * norm)[:, None]
            parts.append([scaled * k * n for k, n in zip(kernel, self._around(norm), strict=True)])
        return [first + second for first, second in zip(*parts, strict=True)]

    def _around(self, x: Any) -> Iterator[Any]:
        """For each row of the windows, the values at its positions, zero outside of the image: `(N, columns, h, w, C)`.

        One row at a time limits the memory; all columns at once limit the number of slices, which JAX compiles slowly.
        """
        radius, side = self.radius, 2 * self.radius + 1
        height, width = ops.shape(x)[1:3]
        x = ops.pad(x, [(0, 0), (radius, radius), (radius, radius), (0, 0)])
        x = ops.stack([x[:, :, left : left + width] for left in range(side)], axis=1)
        for top in range(side):
            yield x[:, :, top : top + height]

    def compute_output_shape(self, scores_shape: Shape, image_shape: Shape) -> Shape:
        return scores_shape

    def reach(self, scores: Reach, image: Reach) -> Reach:
        # In cells: one for the pixel, the window of each message and two interpolated cells, one window of the norms.
        message = 2 * self.radius + (2 if self.stride > 1 else 0)
        cells = self.iterations * message + 2 * self.radius + (self.stride == 1)
        seen = (cells * self.stride - 1) * scores.step if self.iterations else 0
        return Reach(max(scores.pixels, image.pixels) + seen, scores.step)
