"""Tokens of a Vision Transformer: a map of patches as a sequence with positions, and back as a map."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize

INTERPOLATIONS = ("bilinear", "bicubic", "antialiased")
READOUTS = ("ignore", "add", "append")


@keras.saving.register_keras_serializable(package="kseg")
class PatchTokens(ConfiguredLayer):
    """Make a sequence of the patches of a map, add their positions, and put a class token before them.

    The positions are trained for a square map of `grid` x `grid` patches, and interpolated to the size of the map.

    Args:
        grid: Number of rows and of columns for which there are positions.
        registers: Number of further tokens, without positions, between the class token and the patches.
        interpolation: "bilinear" (transformers' DPT), "bicubic" (transformers' ViT and DINOv2), both as in PyTorch, or
            "antialiased" (bicubic, which averages where the map is smaller; timm, and DINOv2 with registers).

    Returns:
        `(N, 1 + registers + H * W, 1, C)` for `(N, H, W, C)`.

    Raises:
        ValueError: If the interpolation is unknown.

    Reference:
        Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929; Darcet et al., Vision
        Transformers Need Registers, https://arxiv.org/abs/2309.16588

    Example:
        >>> tuple(PatchTokens(14)(ops.zeros((1, 5, 7, 8))).shape)
        (1, 36, 1, 8)
    """

    def __init__(self, grid: int, *, registers: int = 0, interpolation: str = "antialiased", **kwargs: Any):
        super().__init__(**kwargs)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"{self.name}: interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")
        self.grid = grid
        self.registers = registers
        self.interpolation = interpolation

    def build(self, x_shape: Shape) -> None:
        def weight(count: int, name: str) -> Any:
            start = keras.initializers.TruncatedNormal(stddev=0.02)  # one would give all weights the same values
            return self.add_weight(shape=(1, count, x_shape[-1]), initializer=start, name=name)

        self.class_token = weight(1, "class_token")
        if self.registers:
            self.register_tokens = weight(self.registers, "registers")
        self.positions = weight(1 + self.grid**2, "positions")

    def call(self, x: Any) -> Any:
        count, height, width, channels = ops.shape(x)
        positions = ops.convert_to_tensor(self.positions)
        grid = ops.reshape(positions[:, 1:], (self.grid, self.grid, channels))
        grid = interpolated(grid, height, width, self.interpolation)
        patches = ops.reshape(x + ops.cast(grid, x.dtype), (count, height * width, channels))
        first = [ops.convert_to_tensor(self.class_token) + positions[:, :1]]
        first += [ops.convert_to_tensor(self.register_tokens)] if self.registers else []
        first = [ops.broadcast_to(each, (count, each.shape[1], channels)) for each in first]
        return ops.expand_dims(ops.concatenate([*first, patches], axis=1), 2)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        count, height, width, channels = x_shape
        patches = None if height is None or width is None else height * width
        return (count, None if patches is None else 1 + self.registers + patches, 1, channels)

    def reach(self, x: Reach) -> Reach:
        return x


@keras.saving.register_keras_serializable(package="kseg")
class TokenMap(ConfiguredLayer):
    """Make a map of the patches of a sequence: the opposite of `PatchTokens`.

    Args:
        registers: Number of tokens between the class token and the patches; they are left out.
        readout: What becomes of the class token: "ignore" leaves it out, "add" adds it to every patch, and "append"
            appends its channels to those of every patch.

    Call arguments:
        tokens: `(N, 1 + registers + H * W, 1, C)`.
        like: `(N, H, W, ...)`, whose size the map takes.

    Returns:
        `(N, H, W, C)`, or `(N, H, W, 2 * C)` with "append".

    Raises:
        ValueError: If the readout is unknown.

    Example:
        >>> tuple(TokenMap(readout="append")(ops.zeros((1, 36, 1, 8)), ops.zeros((1, 5, 7, 3))).shape)
        (1, 5, 7, 16)
    """

    def __init__(self, *, registers: int = 0, readout: str = "ignore", **kwargs: Any):
        super().__init__(**kwargs)
        if readout not in READOUTS:
            raise ValueError(f"{self.name}: readout must be one of {READOUTS}, got {readout!r}")
        self.registers = registers
        self.readout = readout

    def call(self, tokens: Any, like: Any) -> Any:
        count, height, width = ops.shape(like)[:3]
        shape = (count, height, width, tokens.shape[-1])
        x = ops.reshape(tokens[:, 1 + self.registers :], shape)
        if self.readout == "add":
            x = x + tokens[:, :1]
        elif self.readout == "append":
            x = ops.concatenate([x, ops.broadcast_to(tokens[:, :1], shape)], axis=-1)
        return x

    def compute_output_shape(self, tokens_shape: Shape, like_shape: Shape) -> Shape:
        return (*like_shape[:3], (tokens_shape[-1] or 0) * (2 if self.readout == "append" else 1))

    def compute_output_spec(self, tokens: Any, like: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(tokens.shape, like.shape), dtype=self.compute_dtype)

    def reach(self, tokens: Reach, like: Reach) -> Reach:
        return Reach(max(tokens.pixels, math.inf if self.readout != "ignore" else 0), like.step)


@keras.saving.register_keras_serializable(package="kseg")
class FitPatches(ConfiguredLayer):
    """Resize scores to the patches of an image, and crop them to the image, which may not fill its last patches.

    Args:
        patch: Side of a patch, in pixels.

    Call arguments:
        scores: `(N, H, W, C)` of any size.
        patches: `(N, rows, columns, ...)`, a map with one feature for each patch.
        image: `(N, H', W', ...)`, not larger than the patches.

    Returns:
        `(N, H', W', C)`.

    Example:
        >>> scores, patches, image = (ops.zeros((1, *size, 3)) for size in ((8, 8), (3, 4), (40, 64)))
        >>> tuple(FitPatches(16)(scores, patches, image).shape)
        (1, 40, 64, 3)
    """

    def __init__(self, patch: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.patch = patch
        self.resize = Resize(dtype=self.dtype_policy, name="resize")

    def call(self, scores: Any, patches: Any, image: Any) -> Any:
        rows, columns = ops.shape(patches)[1:3]
        height, width = ops.shape(image)[1:3]
        return self.resize.to(scores, (rows * self.patch, columns * self.patch))[:, :height, :width]

    def compute_output_shape(self, scores_shape: Shape, patches_shape: Shape, image_shape: Shape) -> Shape:
        return (*image_shape[:3], scores_shape[-1])

    def compute_output_spec(self, scores: Any, patches: Any, image: Any) -> Any:
        shape = self.compute_output_shape(scores.shape, patches.shape, image.shape)
        return keras.KerasTensor(shape, dtype=scores.dtype)

    def reach(self, scores: Reach, patches: Reach, image: Reach) -> Reach:
        return Reach(scores.pixels + scores.step, image.step)


def interpolated(grid: Any, height: Any, width: Any, interpolation: str) -> Any:
    """Interpolates positions as PyTorch does.

    Args:
        grid: `(rows, columns, C)`.
        height: Number of rows of the result.
        width: Number of columns of the result.
        interpolation: As in `PatchTokens`.

    Returns:
        `(height, width, C)`.
    """
    rows, columns, channels = grid.shape
    if isinstance(height, int) and isinstance(width, int) and (height, width) == (rows, columns):
        return grid
    down, right = (
        ops.cast(_shares(old, new, interpolation), grid.dtype) for old, new in ((rows, height), (columns, width))
    )
    grid = ops.reshape(ops.matmul(down, ops.reshape(grid, (rows, columns * channels))), (height, columns, channels))
    return ops.matmul(right, grid)


def _shares(old: int, new: Any, interpolation: str) -> Any:
    """The share of each old position in each new one, `(new, old)`; an array of NumPy if the sizes are known."""
    numbers: Any = np if isinstance(new, int) else ops

    def real(x: Any) -> Any:
        return x.astype("float32") if numbers is np else ops.cast(x, "float32")

    index, places = numbers.arange(new, dtype="int32"), numbers.arange(old, dtype="int32")
    if interpolation == "antialiased":
        ratio = old / (new if numbers is np else real(new))
        centers = (real(index) + 0.5) * ratio
        distances = numbers.abs(real(places) + 0.5 - centers[:, None]) / numbers.maximum(ratio, 1.0)
        shares = _cubic(distances, -0.5, numbers)
        return real(shares / numbers.sum(shares, axis=1, keepdims=True))
    numerator, denominator = (2 * index + 1) * old - new, 2 * new
    lower = numerator // denominator
    rest = real(numerator - lower * denominator) / (denominator if numbers is np else real(denominator))
    shares = 0.0
    for tap in (0, 1) if interpolation == "bilinear" else (-1, 0, 1, 2):
        distances = numbers.abs(rest - tap)
        weights = 1 - distances if interpolation == "bilinear" else _cubic(distances, -0.75, numbers)
        place = numbers.clip(lower + tap, 0, old - 1)
        shares = shares + weights[:, None] * real(place[:, None] == places)
    return real(shares)


def _cubic(x: Any, a: float, numbers: Any) -> Any:
    """The kernel of cubic convolution at distances of at least 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return numbers.where(x <= 1, near, numbers.where(x < 2, far, 0.0))
