"""Self-attention between the pixels of a grid, as in MobileViT."""

import math
from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.resize import Resize
from kseg.layers.self_attention import attend, projections


@keras.saving.register_keras_serializable(package="kseg")
class GridAttention(ConfiguredLayer):
    """Multi-head attention from every pixel to those at distances of whole multiples of `step`, along both sides.

    These are the pixels at the same place of every patch of `step` x `step` pixels. Attention needs `step` squared
    times fewer multiplications than between all pixels; convolutions before it mix the pixels of a patch.

    Args:
        heads: Number of heads, a divisor of the number of channels.
        step: Distance of the pixels; the sides of the map must be multiples of it, see `FitGrid`.

    Returns:
        A tensor of the shape of the input, `(N, H, W, C)`.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads, or a side not one of the step.

    Reference:
        Mehta, Rastegari: MobileViT, https://arxiv.org/abs/2110.02178

    Example:
        >>> import numpy as np
        >>> tuple(GridAttention(2)(np.zeros((1, 4, 6, 8), "float32")).shape)
        (1, 4, 6, 8)
    """

    def __init__(self, heads: int, *, step: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads
        self.step = step

    def build(self, x_shape: Shape) -> None:
        self.query, self.key, self.value, self.out = projections(self, x_shape[-1] or 0, self.heads)

    def call(self, x: Any) -> Any:
        self.compute_output_shape(x.shape)  # checks known sizes
        count, height, width, channels = ops.shape(x)
        step, rows, columns = self.step, height // self.step, width // self.step
        x = ops.reshape(x, (count, rows, step, columns, step, channels))
        x = ops.reshape(ops.transpose(x, (0, 2, 4, 1, 3, 5)), (count * step**2, rows * columns, channels))
        split = (count * step**2, rows * columns, self.heads, channels // self.heads)
        y = attend(*(ops.reshape(part(x), split) for part in (self.query, self.key, self.value)))
        y = self.out(ops.reshape(y, (count * step**2, rows * columns, channels)))
        y = ops.reshape(y, (count, step, step, rows, columns, channels))
        return ops.reshape(ops.transpose(y, (0, 3, 1, 4, 2, 5)), (count, height, width, channels))

    def products(self, shape: Shape) -> int:
        """Counts the multiplications between features for an input of this shape, for `kseg.zoo.multiply_adds`."""
        pixels = math.prod(side or 1 for side in shape[1:3])
        return 2 * pixels * (pixels // self.step**2) * (shape[-1] or 0)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        if any(isinstance(side, int) and side % self.step for side in x_shape[1:3]):
            raise ValueError(
                f"{self.name}: the sides of the map must be multiples of {self.step}, got {tuple(x_shape[1:3])}: put "
                "FitGrid before it"
            )
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)


@keras.saving.register_keras_serializable(package="kseg")
class FitGrid(ConfiguredLayer):
    """Enlarge a map bilinearly to the next height and width that are multiples of `step`, for `GridAttention`.

    Args:
        step: The sides of the output are multiples of it.

    Returns:
        `(N, H', W', C)` with H' from H to H + step - 1, and W' likewise.

    Example:
        >>> import numpy as np
        >>> tuple(FitGrid(2)(np.zeros((1, 5, 6, 8), "float32")).shape)
        (1, 6, 6, 8)
    """

    def __init__(self, step: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.step = step
        self.resize = Resize(dtype=self.dtype_policy, name="resize")

    def call(self, x: Any) -> Any:
        return self.resize.to(x, self._sides(ops.shape(x)[1:3]))

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (x_shape[0], *self._sides(x_shape[1:3]), x_shape[3])

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=x.dtype)

    def reach(self, x: Reach) -> Reach:
        return Reach(x.pixels + x.step, x.step)

    def _sides(self, sides: Any) -> tuple[Any, ...]:
        more = self.step - 1  # ONNX rounds quotients of negative numbers up
        return tuple(None if side is None else (side + more) // self.step * self.step for side in sides)
