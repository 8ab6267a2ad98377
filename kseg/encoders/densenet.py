"""DenseNet, as in torchvision and segmentation-models-pytorch, whose weight files it loads.

The networks of keras.applications (`densenet121`, `densenet169`, `densenet201`) have another epsilon in their batch
normalization, and an activation after the last one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.atrous import AtrousPooling2D, check_multi_grid
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import load_from_torchvision
from kseg.layers import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization, Conv2D, SmallestSize


class Variant(NamedTuple):
    """A network.

    Attributes:
        depths: Number of layers of the four blocks.
        stem: Number of channels of the first convolution.
        growth: Number of channels that each layer appends.
    """

    depths: tuple[int, ...]
    stem: int = 64
    growth: int = 32

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of channels of the features."""
        found, width = [self.stem], self.stem
        for depth in self.depths:
            width += depth * self.growth
            found.append(width)
            width //= 2
        return tuple(found)


VARIANTS = {
    "densenet121_torchvision": Variant((6, 12, 24, 16)),
    "densenet161": Variant((6, 12, 36, 24), stem=96, growth=48),
    "densenet169_torchvision": Variant((6, 12, 32, 32)),
    "densenet201_torchvision": Variant((6, 12, 48, 32)),
}

OPTIONS = ("feature_norms", "mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    name: f"https://download.pytorch.org/models/{name.removesuffix('_torchvision')}-{digits}.pth"
    for name, digits in zip(VARIANTS, ("a639ec97", "8d451a50", "b2777c0a", "c1103571"), strict=True)
}

RULES: checkpoints.Rules = (
    (r"conv0", "conv0"),
    (r"norm(\d)", r"norm\1"),
    (r"denseblock(\d)\.denselayer(\d+)\.norm(\d)", r"block\1_\2_norm\3"),
    (r"denseblock(\d)\.denselayer(\d+)\.conv(\d)", r"block\1_\2_conv\3"),
    (r"denseblock(\d)\.denselayer(\d+)\.norm\.(\d)", r"block\1_\2_norm\3"),  # the names in the ImageNet weights
    (r"denseblock(\d)\.denselayer(\d+)\.conv\.(\d)", r"block\1_\2_conv\3"),
    (r"transition(\d)\.norm", r"transition\1_norm"),
    (r"transition(\d)\.conv", r"transition\1_conv"),
)
"""From the modules of torchvision's `features` to the layers of this network."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    smallest: int = 1,
    feature_norms: bool = True,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a DenseNet as an encoder, with its stem at stride 2 and its four blocks at 4, 8, 16 and 32.

    From stride 8 on, sizes are rounded down. Where a pooling loses its stride, it and the convolutions after it are
    dilated: every k-th position of the dilated features equals the strided ones.

    Args:
        name: A key of `VARIANTS`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's) or None.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last 3x3 convolutions.
        smallest: Smallest height and width of an image.
        feature_norms: Whether the features of the first three blocks are normalized and activated, and the last ones
            only normalized, as in segmentation-models-pytorch. False gives the first as the blocks compute them, and
            activates the last ones too, as timm does.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If `multi_grid` has too many factors.

    Reference:
        Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, 2016,
        https://arxiv.org/abs/1608.06993
    """
    variant = VARIANTS[name]
    check_multi_grid(multi_grid, sum(variant.depths))
    factors = iter([1] * (sum(variant.depths) - len(multi_grid)) + list(multi_grid))
    image = x = keras.Input(input_shape, name="image")
    if smallest > 1:
        x = SmallestSize(smallest, dtype="float32", name="size")(x)
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(x)
    x = keras.layers.ZeroPadding2D(3, name="conv0_pad")(x)
    x = _activated(_convolution(variant.stem, 7, "conv0", strides=2, padding="valid")(x), "norm0")
    features = [x]
    x = keras.layers.ZeroPadding2D(1, name="pool0_pad")(
        x
    )  # zeros do not change the maxima: the values come from a ReLU
    x = keras.layers.MaxPooling2D(3, 2, name="pool0")(x)
    for block, repeats in enumerate(variant.depths, start=1):
        stride = 2 ** (block + 1)
        rate = max(1, stride // output_stride)
        for repeat in range(1, repeats + 1):
            x = _layer(x, variant.growth, rate * next(factors), f"block{block}_{repeat}")
        if block == len(variant.depths):
            features.append(_norm("norm5")(x) if feature_norms else _activated(x, "norm5"))
            break
        path = f"transition{block}"
        y = _activated(x, f"{path}_norm")
        features.append(y if feature_norms else x)
        x = _convolution(y.shape[-1] // 2, 1, f"{path}_conv")(y)
        pool, fits = f"{path}_pool", 2 * stride <= output_stride
        x = (keras.layers.AveragePooling2D(2, name=pool) if fits else AtrousPooling2D("average", rate, name=pool))(x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        load_from_torchvision(encoder, ADDRESSES[name], convert)
    return encoder


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a DenseNet of torchvision, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"features.denseblock1.denselayer2.norm.1.bias": np.ones(96), "classifier.bias": np.ones(9)}))
        ['block1_2_norm1/beta']
    """
    inside = checkpoints.unwrapped(state, known := checkpoints.below(RULES, "features.", ""))
    kept = {key: array for key, array in inside.items() if not checkpoints.within(key, "classifier")}
    return checkpoints.rename(kept, known)


def _layer(x: keras.KerasTensor, growth: int, rate: int, name: str) -> keras.KerasTensor:
    """Appends channels that two convolutions, after normalization and activation each, compute from all before."""
    y = _convolution(4 * growth, 1, f"{name}_conv1")(_activated(x, f"{name}_norm1"))
    y = _convolution(growth, 3, f"{name}_conv2", dilation_rate=rate)(_activated(y, f"{name}_norm2"))
    return keras.layers.Concatenate(name=f"{name}_concatenate")([x, y])


def _activated(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(name=name.replace("norm", "relu"))(_norm(name)(x))


def _norm(name: str) -> keras.layers.Layer:
    return BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=name)


def _convolution(filters: int, kernel_size: int, name: str, **options: int | str) -> keras.layers.Layer:
    options = {"padding": "same", **options}
    return Conv2D(filters, kernel_size, use_bias=False, kernel_initializer="he_normal", name=name, **options)
