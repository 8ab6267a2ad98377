"""What encoders in PyTorch's form share: convolutions, residual blocks, short descriptions, ImageNet weights."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg import checkpoints, download, pretrained
from kseg.encoders.channels import adapt_kernel
from kseg.layers import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization, Conv2D


def convolution(
    x: keras.KerasTensor, name: str, filters: int, kernel_size: int, *, strides: int = 1, **options: Any
) -> keras.KerasTensor:
    """Applies a convolution, padded on all sides as in PyTorch, and batch normalization.

    Args:
        x: Features.
        name: Name of the convolution, such as `"layer1_conv2"`; the normalization is `layer1_norm2`.
        filters: Number of channels of the output.
        kernel_size: Side of the kernel, an odd number.
        strides: Stride of the convolution.
        **options: Further options of `Conv2D`.
    """
    if strides > 1 and kernel_size > 1:  # "same" would pad even sizes on the far side only
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    options = {"use_bias": False, "kernel_initializer": "he_normal", "name": name, **options}
    x = Conv2D(filters, kernel_size, strides=strides, padding="valid" if strides > 1 else "same", **options)(x)
    return BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=name.replace("conv", "norm"))(x)


def added(x: keras.KerasTensor, y: keras.KerasTensor, drop: float, name: str) -> keras.KerasTensor:
    """Adds what a block computes to its input; during training, some images of a batch keep their input."""
    if drop:
        y = keras.layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def drops(greatest: float, depths: Sequence[int]) -> list[list[float]]:
    """Returns the fraction of images that each block of each stage drops: it increases linearly from 0.

    Example:
        >>> drops(0.5, (1, 2))
        [[0.0], [0.25, 0.5]]
    """
    count, start, stages = sum(depths), 0, []
    for repeats in depths:
        stages.append([greatest * index / max(count - 1, 1) for index in range(start, start + repeats)])
        start += repeats
    return stages


def shortest(
    given: Mapping[str, Any], variants: Iterable[str], options: Callable[[str], Mapping[str, Any]]
) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Args:
        given: Options of the encoder.
        variants: Names of encoders that have these options.
        options: Returns the options of a variant.
    """

    def others(name: str) -> dict[str, Any]:
        known = options(name)
        lists = {key: list(value) if isinstance(value, list | tuple) else value for key, value in known.items()}
        return {key: value for key, value in given.items() if value != lists[key]}

    name = min(variants, key=lambda each: len(others(each)))
    return {"name": name, **others(name)} if others(name) else name


def load(encoder: keras.Model, arrays: Mapping[str, np.ndarray], name: str = "the ImageNet weights") -> None:
    """Loads the weights of a classifier for RGB images, and adapts the first kernel to the channels of the encoder.

    Args:
        encoder: The encoder, for any number of channels. Classifiers do not have its layers `stage1_norm` to
            `stage4_norm`, which keep their values.
        arrays: `{key: array}`.
        name: What the weights are called in errors.

    Raises:
        ValueError: If a tensor is missing, left over or of another shape.
    """
    kept = {
        key: np.asarray(ops.convert_to_numpy(value))
        for key, value in pretrained.weight_keys(encoder).items()
        if re.fullmatch(r"stage\d_norm/(gamma|beta)", key)
    }
    first = next(f"{layer.name}/kernel" for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D))
    adapted = {}
    if first in arrays and arrays[first].shape[2] == 3:
        adapted[first] = adapt_kernel(arrays[first], encoder.inputs[0].shape[-1])
    try:
        pretrained.load(encoder, {**kept, **arrays, **adapted})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def load_from_torchvision(
    encoder: keras.Model, url: str, convert: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
) -> None:
    """Downloads ImageNet weights of torchvision, verified by the digits in their name, and loads them.

    Args:
        encoder: As in `load`.
        url: The address of the file.
        convert: Converts the tensors of the classifier, `{name: array}`, to the arrays of the encoder.

    Raises:
        OSError: If the download failed.
        ValueError: If the tensors do not fit.
    """
    load(encoder, convert(checkpoints.read(download.fetch(url, sha256=download.sha256_in_name(url)))))
