"""Dilation instead of strides: rebuilds the layers of a classification network for a smaller output stride.

A convolution or pooling that would exceed the output stride loses its stride, and all layers after it are dilated by
the same factor, so that the unchanged weights are applied to the same pixels. Away from borders, every k-th position of
the new features equals the original ones, unless a layer depends on the whole image (as the mean in
squeeze-and-excitation does).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers import FAST_LAYERS, Reach

SPATIAL = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@keras.saving.register_keras_serializable(package="kseg")
class AtrousPooling2D(keras.layers.Layer):
    """Pools 2 x 2 pixels at distance `rate`, with stride 1. Pixels beyond the border count as 0.

    Input and output: `(N, H, W, C)`.

    Example:
        >>> image = ops.reshape(ops.arange(9.0), (1, 3, 3, 1))
        >>> ops.convert_to_numpy(AtrousPooling2D("max", 1)(image))[0, :, :, 0].astype(int).tolist()
        [[4, 5, 5], [7, 8, 8], [7, 8, 8]]
    """

    def __init__(self, mode: str, rate: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("max", "average"):
            raise ValueError(f"mode must be 'max' or 'average', got {mode!r}")
        self.mode = mode
        self.rate = rate

    def call(self, image: Any) -> Any:
        padded = ops.pad(image, ((0, 0), (0, self.rate), (0, self.rate), (0, 0)))
        near, far = slice(None, -self.rate), slice(self.rate, None)
        combine = ops.maximum if self.mode == "max" else (lambda a, b: (a + b) / 2)
        rows = combine(padded[:, near], padded[:, far])
        return combine(rows[:, :, near], rows[:, :, far])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def reach(self, image: Reach) -> Reach:
        return image.window(2, rate=self.rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode, "rate": self.rate}


def dilate(
    layer: keras.layers.Layer, stride: int, output_stride: int, factor: int = 1, **changes: Any
) -> keras.layers.Layer:
    """Copies a layer, without its weights, for a network with a smaller output stride.

    Example:
        >>> layer = dilate(keras.layers.Conv2D(8, 3, strides=2, padding="same", name="a"), stride=32, output_stride=16)
        >>> layer.name, layer.strides, layer.dilation_rate
        ('a', (1, 1), (2, 2))
    """
    config = {**layer.get_config(), **changes}
    kind = FAST_LAYERS.get(type(layer), type(layer))
    if not isinstance(layer, SPATIAL + POOLING):
        return kind.from_config(config)
    steps = layer.strides[0]
    rate = max(1, stride // output_stride)
    too_far = steps > 1 and stride * steps > output_stride
    if isinstance(layer, SPATIAL):
        if too_far:
            config.update(strides=1, padding="same")
        if layer.kernel_size[0] > 1:
            config["dilation_rate"] = rate * factor
    elif too_far or rate > 1:
        if tuple(layer.pool_size) != (2, 2):
            raise ValueError(f"pooling layer {layer.name!r} of size {layer.pool_size} cannot be dilated")
        mode = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average"
        return AtrousPooling2D(mode, rate, name=config["name"], dtype=layer.dtype_policy)
    return kind.from_config(config)


def check_multi_grid(multi_grid: Sequence[int], count: int) -> None:
    """Raises a ValueError if there are more factors than spatial convolutions."""
    if len(multi_grid) > count:
        raise ValueError(f"multi_grid has {len(multi_grid)} factors, but there are {count} spatial convolutions")


def shifted_rates(full: Sequence[int], multi_grid: Sequence[int]) -> Iterator[int]:
    """Returns the dilation rates of spatial convolutions with which every k-th position equals the strided features.

    A convolution that loses its stride keeps the rate of the one before it. A factor of `multi_grid` multiplies the
    rate of its stage, also at such a convolution.

    Args:
        full: For each convolution, in the order of the network, the rate of its stage.
        multi_grid: Factors for the last convolutions.

    Raises:
        ValueError: If there are more factors than convolutions.

    Example:
        >>> list(shifted_rates([1, 1, 2, 2], ())), list(shifted_rates([1, 1, 2, 2], (1, 2)))
        ([1, 1, 1, 2], [1, 1, 2, 4])
    """
    check_multi_grid(multi_grid, len(full))
    rest = len(full) - len(multi_grid)
    factored = [rate * factor for rate, factor in zip(full[rest:], multi_grid, strict=True)]
    return iter([1, *full[:-1]][:rest] + factored)


def multi_grid_factors(network: keras.Model, multi_grid: Sequence[int]) -> dict[str, int]:
    """Assigns multi-grid factors to the last spatial convolutions of a network.

    Reference:
        Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation, 2017,
        section 3.2.1, https://arxiv.org/abs/1706.05587
    """
    wide = [layer.name for layer in network.layers if isinstance(layer, SPATIAL) and layer.kernel_size[0] > 1]
    check_multi_grid(multi_grid, len(wide))
    return dict(zip(wide[len(wide) - len(multi_grid) :], multi_grid, strict=True))
