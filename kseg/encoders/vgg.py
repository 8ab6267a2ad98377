"""VGG, with and without batch normalization, as in torchvision and segmentation-models-pytorch, whose weights it loads.

The networks of keras.applications (`vgg16`, `vgg19`) have the weights of Caffe, and give the features after each
pooling instead of those before it.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
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
        depths: Number of convolutions of the five blocks.
        batch_norm: Whether batch normalization follows the convolutions.
        filters: Number of channels of the blocks.
    """

    depths: tuple[int, ...]
    batch_norm: bool = False
    filters: tuple[int, ...] = (64, 128, 256, 512, 512)


_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_OF_CAFFE = (16, 19)
"""Depths of which keras.applications has a network with the plain name."""

VARIANTS = {
    **{f"vgg{depth}" + "_torchvision" * (depth in _OF_CAFFE): Variant(_DEPTHS[depth]) for depth in _DEPTHS},
    **{f"vgg{depth}_bn": Variant(_DEPTHS[depth], batch_norm=True) for depth in _DEPTHS},
}

OPTIONS = ("mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    name: f"https://download.pytorch.org/models/{name.removesuffix('_torchvision')}-{digits}.pth"
    for name, digits in zip(
        VARIANTS,
        ("8a719046", "19584684", "397923af", "dcbb9e9d", "6002323d", "abd245e5", "6c64b313", "c79401a0"),
        strict=True,
    )
}


def _places(variant: Variant) -> Iterator[tuple[int, str]]:
    """The positions of the layers with weights in torchvision's `features`, and their names here."""
    position = 0
    for block, repeats in enumerate(variant.depths, start=1):
        for repeat in range(1, repeats + 1):
            yield position, f"block{block}_conv{repeat}"
            if variant.batch_norm:
                yield position + 1, f"block{block}_norm{repeat}"
            position += 3 if variant.batch_norm else 2  # with the activation
        position += 1  # the pooling


def rules(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of torchvision's `features` to the layers of this network."""
    return [(str(position), path) for position, path in _places(VARIANTS[name])]


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    smallest: int = 1,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a VGG as an encoder, with the outputs of its blocks 2 to 5 at strides 2 to 16, and the last pooling at 32.

    Sizes are rounded down. Where a pooling loses its stride, it and the convolutions after it are dilated: every k-th
    position of the dilated features equals the strided ones.

    Args:
        name: A key of `VARIANTS`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's) or None.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last convolutions.
        smallest: Smallest height and width of an image.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If `multi_grid` has too many factors.

    Reference:
        Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014,
        https://arxiv.org/abs/1409.1556
    """
    variant = VARIANTS[name]
    check_multi_grid(multi_grid, sum(variant.depths))
    factors = iter([1] * (sum(variant.depths) - len(multi_grid)) + list(multi_grid))
    image = x = keras.Input(input_shape, name="image")
    if smallest > 1:
        x = SmallestSize(smallest, dtype="float32", name="size")(x)
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(x)
    features = []
    for block, (repeats, width) in enumerate(zip(variant.depths, variant.filters, strict=True), start=1):
        stride = 2 ** (block - 1)
        rate = max(1, stride // output_stride)
        for repeat in range(1, repeats + 1):
            path = f"block{block}_{{}}{repeat}"
            x = Conv2D(
                width,
                3,
                padding="same",
                dilation_rate=rate * next(factors),
                kernel_initializer="he_normal",
                name=path.format("conv"),
            )(x)
            if variant.batch_norm:
                x = BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=path.format("norm"))(x)
            x = keras.layers.ReLU(name=path.format("relu"))(x)
        features.append(x)
        pool = f"block{block}_pool"
        fits = 2 * stride <= output_stride
        x = (keras.layers.MaxPooling2D(2, name=pool) if fits else AtrousPooling2D("max", rate, name=pool))(x)
    encoder = keras.Model(image, [*features[1:], x], name="encoder")
    if weights == "imagenet":
        load_from_torchvision(encoder, ADDRESSES[name], functools.partial(convert, name=name))
    return encoder


def convert(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Converts the weights of a VGG of torchvision, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.
        name: A key of `VARIANTS`.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"features.1.running_var": np.ones(64), "classifier.0.bias": np.ones(4096)}, "vgg11_bn"))
        ['block1_norm1/moving_variance']
    """
    inside = checkpoints.unwrapped(state, known := checkpoints.below(rules(name), "features.", ""))
    heads = ("classifier", "pre_logits", "head")  # the last two in timm
    kept = {key: array for key, array in inside.items() if not any(checkpoints.within(key, head) for head in heads)}
    return checkpoints.rename(kept, known)
