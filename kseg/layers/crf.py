"""A conditional random field as a layer: mean field in a window around each pixel, trained with the net."""

import math
from typing import Any

import keras
from keras import ops

from kseg.layers.decoder import check_activation
from kseg.layers.resize import Resize


@keras.saving.register_keras_serializable(package="kseg")
class ConvCRF(keras.layers.Layer):
    """Draws scores to the image's edges: the mean field of a CRF whose pairs of pixels lie in one window.

    Each pixel is told by those around it which classes they hold, the more the nearer they are (smoothness), and the
    nearer and the more alike in colour (appearance). Each kernel K is normalised by its sums n = K 1 in the window,
    n^-1/2 before and after; a pixel's own share is not taken out. That is `kseg.inference.dense_crf` with a window and
    exact kernels. Strengths, widths and the compatibility of classes are weights: the layer learns them with the net.

    Args:
        radius: of the window: it holds (2 * radius + 1)^2 cells.
        stride: side of a cell in pixels: messages pass between means of stride x stride pixels, so that the window
            spans (2 * radius + 1) * stride pixels at a stride^2-th of the cost. 1 is exact.
        iterations: of the mean field.
        smoothness: initial strength of the kernel of places.
        smoothness_xy: its initial standard deviation, pixels.
        appearance: initial strength of the kernel of places and colours.
        appearance_xy: its initial standard deviation in place, pixels.
        appearance_rgb: its initial standard deviation in colour, of 0 to 255.
        from_logits: False says that the scores are probabilities.
        activation: None for logits, "softmax" or "sigmoid" for probabilities.

    Call arguments:
        scores: `(N, H, W, C)`, logits, or probabilities as `from_logits` says; one channel is binary.
        image: `(N, H, W, 3)`, 0 to 255; any number of channels.

    Returns:
        float32 `(N, H, W, C)`: logits, or probabilities in 0 to 1.

    Raises:
        ValueError: when an option makes no sense, or the sizes differ.

    Reference:
        Teichmann and Cipolla: Convolutional CRFs for Semantic Segmentation, 2018, https://arxiv.org/abs/1805.04777;
        Kraehenbuehl and Koltun, https://arxiv.org/abs/1210.5644

    Example:
        >>> import numpy as np
        >>> image = np.zeros((1, 1, 8, 3), "float32")
        >>> image[:, :, 4:] = 200                                          # two regions
        >>> scores = np.zeros((1, 1, 8, 2), "float32")
        >>> scores[0, 0, 0, 0] = scores[0, 0, 7, 1] = 5                    # known at their ends alone
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
        super().__init__(**{"dtype": "float32"} | kwargs)
        for name, value, least in (("radius", radius, 0), ("stride", stride, 1), ("iterations", iterations, 0)):
            if value < least:
                raise ValueError(f"{self.name}: {name} must be {least} or more, got {value}")
        for name, width in (
            ("smoothness_xy", smoothness_xy),
            ("appearance_xy", appearance_xy),
            ("appearance_rgb", appearance_rgb),
        ):
            if width <= 0:
                raise ValueError(f"{self.name}: {name} must be positive, got {width}")
        self.options: dict[str, Any] = {
            "radius": radius,
            "stride": stride,
            "iterations": iterations,
            "smoothness": smoothness,
            "smoothness_xy": smoothness_xy,
            "appearance": appearance,
            "appearance_xy": appearance_xy,
            "appearance_rgb": appearance_rgb,
            "from_logits": from_logits,
            "activation": activation,
        }
        self.radius, self.stride, self.iterations = radius, stride, iterations
        self.from_logits = from_logits
        self.activation = activation
        self.enlarge = Resize(factor=stride, dtype="float32", name="enlarge")

    def build(self, scores_shape, image_shape):
        check_activation(self, self.activation, scores_shape[-1])
        for given, of_image in zip(scores_shape[1:3], image_shape[1:3], strict=True):
            if given and of_image and given != of_image:
                raise ValueError(f"{self.name}: scores {scores_shape[1:3]} and image {image_shape[1:3]} differ in size")
        self.num_classes = max(scores_shape[-1], 2)
        o = self.options
        widths = [math.log(o[name]) for name in ("smoothness_xy", "appearance_xy", "appearance_rgb")]
        self.strengths = self._weight((2,), _values(o["smoothness"], o["appearance"]), "strengths")
        self.log_widths = self._weight((3,), _values(*widths), "log_widths")
        self.compatibility = self._weight((self.num_classes,) * 2, "identity", "compatibility")

    def _weight(self, shape, initializer, name):
        # Never cast: the field is computed in float32 whatever the policy, as logits are.
        return self.add_weight(shape=shape, initializer=initializer, name=name, dtype="float32", autocast=False)

    def call(self, scores, image):
        scores, image = ops.cast(scores, "float32"), ops.cast(image, "float32")
        binary = scores.shape[-1] == 1
        unary = self._log_probabilities(scores)
        kernel = self._kernel(self._means(image))
        height, width = ops.shape(scores)[1:3]
        x = unary
        for _ in range(self.iterations):
            message = ops.matmul(self._spread(kernel, self._means(ops.softmax(x))), self.compatibility)
            x = unary + self.enlarge(message)[:, :height, :width]
        x = x[..., 1:] - x[..., :1] if binary else x
        return x if self.activation is None else keras.activations.get(self.activation)(x)

    def _log_probabilities(self, scores):
        if self.from_logits:
            scores = ops.concatenate([ops.zeros_like(scores), scores], -1) if scores.shape[-1] == 1 else scores
            return ops.log_softmax(scores)
        scores = ops.concatenate([1 - scores, scores], -1) if scores.shape[-1] == 1 else scores
        return ops.log(ops.maximum(scores, 1e-7))

    def _means(self, x):
        """Means of the cells, those at the far sides continued by the border: `(N, ceil(H / stride), ..., C)`."""
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

    def _kernel(self, image):
        """What each cell hears from each place of its window: a tensor `(N, h, w, 1)` a place."""
        smooth_xy, near_xy, alike = (ops.exp(-2 * self.log_widths[i]) / 2 for i in range(3))  # 1 / (2 sigma^2)
        inside = ops.ones_like(image[..., :1])
        around, there = self._around(image), self._around(inside)
        smooth, appear = [], []
        for (row, column), colours, here in zip(self._places(), around, there, strict=True):
            distance = float((row * self.stride) ** 2 + (column * self.stride) ** 2)
            difference = ops.sum(ops.square(colours - image), axis=-1, keepdims=True)
            smooth.append(here * ops.exp(-smooth_xy * distance))
            appear.append(here * ops.exp(-near_xy * distance - alike * difference))
        parts = []
        for strength, kernel in ((self.strengths[0], smooth), (self.strengths[1], appear)):
            norm = ops.rsqrt(sum(kernel[1:], start=kernel[0]))
            scaled = strength * norm
            parts.append([scaled * k * n for k, n in zip(kernel, self._around(norm), strict=True)])
        return [first + second for first, second in zip(*parts, strict=True)]

    def _spread(self, kernel, q):
        heard = [k * values for k, values in zip(kernel, self._around(q), strict=True)]
        return sum(heard[1:], start=heard[0])

    def _places(self):
        side = range(-self.radius, self.radius + 1)
        return [(row, column) for row in side for column in side]

    def _around(self, x):
        """The values at each place of the windows, zero beyond the image."""
        radius = self.radius
        height, width = ops.shape(x)[1:3]
        padded = ops.pad(x, [(0, 0), (radius, radius), (radius, radius), (0, 0)])
        for row, column in self._places():
            top, left = row + radius, column + radius
            yield padded[:, top : top + height, left : left + width]

    def compute_output_shape(self, scores_shape, image_shape):
        return scores_shape

    def compute_output_spec(self, scores, image):
        return keras.KerasTensor(scores.shape, dtype="float32")

    def get_config(self):
        return super().get_config() | self.options


def _values(*values):
    return lambda shape, dtype=None: ops.convert_to_tensor(values, dtype=dtype)
