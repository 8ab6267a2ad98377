"""Resizing by a factor, to a size or to the size of another tensor, at known and unknown sizes, on every backend."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.tracing import is_single_operation

INTERPOLATIONS = ("bilinear", "nearest", "nearest_floor")


@keras.saving.register_keras_serializable(package="kseg")
class Resize(ConfiguredLayer):
    """Resize images or features. Exactly one of `size`, `factor` and, in the call, `like` sets the output size.

    Sizes may be unknown until the layer runs (`keras.Input((None, None, 3))`). The dtype is kept: bilinear values are
    interpolated in float32 or wider and cast back, rounded for integers. Nearest interpolation only copies values, so
    it suits labels.

    Args:
        size: Height and width of the output, or one integer for both.
        factor: Ratio of the output size to the input size, one number or (rows, columns). It may be a fraction: 0.5
            halves the size. Sizes are rounded down, but never below 1.
        interpolation: "bilinear", "nearest", which copies the pixel around the center of each new one, or
            "nearest_floor", which copies pixel `i * H // H'` to pixel `i`, as PyTorch's "nearest" does.
        align_corners: False aligns the outer edges of the images (half-pixel centers, as Keras, PyTorch and OpenCV do
            by default); True aligns the centers of the corner pixels (as Caffe's Interp and DeepLab V2 did).

    Call arguments:
        image: `(N, H, W, C)`, any dtype.
        like: Tensor `(N, H', W', ...)` whose height and width the output takes.

    Returns:
        `(N, H', W', C)`, with the dtype of `image`.

    Raises:
        ValueError: If not exactly one of `size`, `factor` and `like` is given, or one of them is invalid.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((2, 5, 7, 3), "float32")
        >>> tuple(Resize()(image, like=np.zeros((2, 9, 11, 1))).shape)
        (2, 9, 11, 3)
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        *,
        factor: float | tuple[float, float] | None = None,
        interpolation: str = "bilinear",
        align_corners: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if size is not None and factor is not None:
            raise ValueError(f"Resize: give size or factor, not both (got size={size}, factor={factor})")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"Resize: interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")
        for name, value in (("size", size), ("factor", factor)):
            if value is not None and min(_pair(value)) <= 0:
                raise ValueError(f"Resize: {name} must be positive, got {value}")
        if align_corners and interpolation == "nearest_floor":
            raise ValueError("Resize: nearest_floor has no aligned corners: leave align_corners out")
        self.size = size if size is None else _pair(size)
        self.factor = factor if factor is None else _pair(factor)
        self.interpolation = interpolation
        self.align_corners = align_corners
        self.built = True  # it has no weights; on JAX, a model with a layer that is not built runs twice

    def call(self, image: Any, like: Any = None) -> Any:
        return self.to(image, self._target(ops.shape(image)[1:3], None if like is None else ops.shape(like)[1:3]))

    def to(self, image: Any, target: Sequence[Any]) -> Any:
        """Resizes images to a height and a width, which may be integers or tensors."""
        source = ops.shape(image)[1:3]
        if any(isinstance(n, int) and n == 0 for n in source):
            raise ValueError(f"{self.name}: the feature map is empty: the image is too small for the layers before it")
        known = all(isinstance(n, int) for n in (*source, *target))
        if known and tuple(source) == tuple(target):
            return image
        if is_single_operation() and keras.backend.backend() == "tensorflow":
            return _by_tensorflow(image, target, self.interpolation, self.align_corners)
        if self.interpolation != "bilinear":
            # The backends compute positions in float32, which are wrong for some sizes that do not divide.
            multiple = known and not any(n % m for n, m in zip(target, source, strict=True))
            if multiple and not self.align_corners:
                return repeated(image, [n // m for n, m in zip(target, source, strict=True)])
            for axis in (1, 2):
                index = self._copied(source[axis - 1], target[axis - 1])
                image = ops.take(image, index, axis=axis)
            return image
        values = ops.cast(image, keras.backend.result_type(image.dtype, "float32"))
        own = known and not self.align_corners  # the backend's resize is faster, but supports only this case
        if own and keras.backend.backend() == "tensorflow":
            own = all(map(_right_by_xla, source, target))
        if known and self.align_corners and keras.backend.backend() == "torch":
            values = _by_torch(values, target)
        elif own:
            values = ops.image.resize(values, target, interpolation="bilinear", data_format="channels_last")
        else:
            for axis in (2, 1):  # columns first: there are fewer rows to process when enlarging
                values = _linear(values, axis, source[axis - 1], target[axis - 1], self.align_corners)
        if keras.backend.is_int_dtype(image.dtype):
            values = ops.round(values)
        return ops.cast(values, image.dtype)

    def _copied(self, source: Any, target: Any) -> Any:
        """The pixels along one axis that nearest interpolation copies, `(target,)`."""
        if self.interpolation == "nearest_floor":
            return ops.arange(target, dtype="int32") * source // target
        numerator, denominator = _positions(source, target, self.align_corners)
        return ops.clip((numerator + denominator // 2) // denominator, 0, source - 1)  # halves are rounded up

    def compute_output_shape(self, image_shape: Shape, like_shape: Shape | None = None) -> Shape:
        size = self._target(image_shape[1:3], None if like_shape is None else like_shape[1:3])
        return (image_shape[0], *size, image_shape[3])

    def compute_output_spec(self, image: Any, like: Any = None) -> Any:
        shape = self.compute_output_shape(image.shape, None if like is None else like.shape)
        return keras.KerasTensor(shape, dtype=image.dtype)

    def reach(self, image: Reach, like: Reach | None = None) -> Reach:
        if self.size is not None:  # the factor is unknown, so only the whole image is a safe bound
            return Reach(math.inf, image.step)
        step = like.step if like else image.step / (self.factor or (1,))[0]
        return Reach(image.pixels + (image.step if self.interpolation == "bilinear" else 0), step)

    def _target(self, source: Sequence[Any], like: Sequence[Any] | None) -> tuple[Any, ...]:
        """Height and width of the output: integers where known, tensors or None where not."""
        if (like is not None) + (self.size is not None) + (self.factor is not None) != 1:
            raise ValueError(
                f"{self.name}: give exactly one of size, factor and like (got size={self.size}, factor={self.factor}, "
                f"like {'not given' if like is None else 'given'})"
            )
        if like is not None:
            return tuple(like)
        if self.size is not None:
            return (*self.size,)
        return tuple(_scaled(n, f) for n, f in zip(source, self.factor or (), strict=True))


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def _scaled(size: Any, factor: float) -> Any:
    # Integer arithmetic, so that known and unknown sizes are rounded the same way.
    ratio = Fraction(factor).limit_denominator(4096)
    if size is None:
        return None
    scaled = size * ratio.numerator // ratio.denominator
    return max(scaled, 1) if isinstance(scaled, int) else ops.maximum(scaled, 1)


def _by_tensorflow(image: Any, target: Any, interpolation: str, align_corners: bool) -> Any:
    from tensorflow import raw_ops

    centers = not align_corners and interpolation != "nearest_floor"
    options = {"size": ops.stack(target), "align_corners": align_corners, "half_pixel_centers": centers}
    if interpolation != "bilinear":
        return raw_ops.ResizeNearestNeighbor(images=image, **options)
    values = raw_ops.ResizeBilinear(images=ops.cast(image, "float32"), **options)
    return ops.cast(ops.round(values) if keras.backend.is_int_dtype(image.dtype) else values, image.dtype)


def _by_torch(values: Any, target: Any) -> Any:
    """Bilinear interpolation with aligned corners, which `keras.ops` lacks."""
    from torch.nn.functional import interpolate

    values = ops.convert_to_tensor(values).permute(0, 3, 1, 2)
    return interpolate(values, target, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


def repeated(image: Any, factors: Sequence[int]) -> Any:
    """Nearest interpolation by whole factors of rows and columns."""
    if keras.backend.backend() == "torch" and keras.backend.is_float_dtype(image.dtype):  # faster there
        size = [n * factor for n, factor in zip(image.shape[1:3], factors, strict=True)]
        return ops.image.resize(image, size, interpolation="nearest", data_format="channels_last")
    # XLA cannot compile the gradient of TensorFlow's resize, with which Keras trains on a GPU; JAX's is slow.
    for axis, factor in enumerate(factors, start=1):
        image = ops.repeat(image, factor, axis=axis)
    return image


def _right_by_xla(source: int, target: int) -> bool:
    """Whether TensorFlow's bilinear resize is correct when XLA compiles it, as Keras does on a GPU.

    XLA rounds the positions (i + 1/2) * source / target - 1/2 down in float32. A whole position may come out slightly
    too low, and then the wrong pixels are mixed. There are no whole positions if the ratio in lowest terms contains an
    even number, and they are exact if the ratio is whole. Of 1,287 pairs of sizes up to 480, 9 were wrong; this rule
    accepts none of them.
    """
    divisor = math.gcd(source, target)
    return target == divisor or source // divisor % 2 == 0 or target // divisor % 2 == 0


def _positions(source: Any, target: Any, align_corners: bool) -> tuple[Any, Any]:
    """Positions of the target's pixel centers in the source: integer numerators `(target,)` and their denominator."""
    index = ops.arange(target, dtype="int32")
    if align_corners:
        return 2 * index * (source - 1), 2 * (ops.maximum(target, 2) - 1)
    return (2 * index + 1) * source - target, 2 * target


def _linear(image: Any, axis: int, source: Any, target: Any, align_corners: bool) -> Any:
    numerator, denominator = _positions(source, target, align_corners)
    numerator = ops.clip(numerator, 0, (source - 1) * denominator)  # border values extend beyond the outermost centers
    lower = numerator // denominator
    upper = ops.minimum(lower + 1, source - 1)
    weight = ops.cast(numerator - lower * denominator, image.dtype) / ops.cast(denominator, image.dtype)
    weight = ops.reshape(weight, (-1, 1, 1) if axis == 1 else (-1, 1))
    start = ops.take(image, lower, axis=axis)
    return start + (ops.take(image, upper, axis=axis) - start) * weight
