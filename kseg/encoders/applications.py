"""The families of keras.applications as encoders.

Keras builds a network, with its ImageNet weights if they are requested. It is then rebuilt with the same weights and
four changes:

- normalization becomes the first layer;
- explicit padding for even sizes (`ZeroPadding2D` by 0 and 1, then a `valid` convolution) becomes `same`, which is
  correct for every size;
- strides beyond the output stride become dilation;
- automatically numbered layers get names that are the same in every build.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kseg.encoders.atrous import dilate, multi_grid_factors
from kseg.encoders.channels import Normalization, adapt_kernel
from kseg.layers import SmallestSize

SIDE = 224
"""Image size for which Keras builds a network; all strides up to 32 divide it."""

# For each stride, finest first, the layer whose input is the feature; None stands for the output of the network.
VGG = ("block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1", None)
RESNET = ("pool1_pad", "conv3_block1_1_conv", "conv4_block1_1_conv", "conv5_block1_1_conv", None)
MOBILENET_V2 = ("block_1_expand", "block_3_expand", "block_6_expand", "block_13_expand", "Conv_1")
MOBILENET_V3_SMALL = ("expanded_conv_depthwise_pad", *(f"expanded_conv_{i}_expand" for i in (1, 3, 8)), None)
MOBILENET_V3_LARGE = (*(f"expanded_conv_{i}_expand" for i in (1, 3, 6, 12)), None)
EFFICIENTNET = ("block2a_expand_conv", "block3a_expand_conv", "block4a_expand_conv", "block6a_expand_conv", "top_conv")
DENSENET = ("zero_padding2d_1", "pool2_conv", "pool3_conv", "pool4_conv", None)


def build(
    network: Callable[..., keras.Model],
    ends: Sequence[str | None],
    normalization: Normalization,
    *,
    input_shape: tuple[int | None, int | None, int],
    weights: str | None,
    output_stride: int,
    multi_grid: Sequence[int] = (),
    smallest: int = 1,
) -> keras.Model:
    """Builds an encoder from a network of keras.applications.

    `ends` names, for each stride, finest first, the layer whose input is the feature; None stands for the output of the
    network. No feature is empty if the sides of the image are `smallest` or more.
    """
    # Keras warns about unknown sizes and refuses small ones.
    source = network(include_top=False, weights=weights, input_shape=(SIDE, SIDE, 3))
    names = _stable_names(source)
    by_name = {name: operation for operation, name in names.items()}
    features = [by_name[end].input if end else source.output for end in ends]
    trunk = keras.Model(source.input, features, name="encoder")

    image = keras.Input(input_shape, name="image")
    normalize = normalization.layer(input_shape[-1])
    factors = multi_grid_factors(trunk, multi_grid)
    uneven = {id(layer.output) for layer in trunk.layers if _pads_unevenly(layer)}
    copies: list[tuple[Any, Any]] = []

    def copy(operation: Any) -> Any:
        name = names[operation]
        if not isinstance(operation, keras.layers.Layer):
            return operation.__class__.from_config({**operation.get_config(), "name": name})
        if _drops(operation):
            return operation
        changes = {"padding": "same"} if id(operation.input) in uneven else {}
        factor = factors.get(operation.name, 1)
        layer = dilate(operation, _stride(operation), output_stride, factor, name=name, **changes)
        copies.append((operation, layer))
        return layer

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if _drops(operation):
            return args[0]
        if args[0] is image:
            checked = SmallestSize(smallest, dtype="float32", name="size")(image) if smallest > 1 else image
            args = (normalize(checked), *args[1:])
        return operation(*args, **kwargs)

    encoder = keras.models.clone_model(trunk, input_tensors=image, clone_function=copy, call_function=call)
    if weights:
        _copy_weights(copies, input_shape[-1], normalization.bgr)
    return encoder


def _drops(operation: Any) -> bool:
    preprocessing = (keras.layers.Rescaling, keras.layers.Normalization)
    return isinstance(operation, preprocessing) or _pads_unevenly(operation)


def _pads_unevenly(operation: Any) -> bool:
    return isinstance(operation, keras.layers.ZeroPadding2D) and any(a != b for a, b in operation.padding)


def _stride(layer: keras.layers.Layer) -> int:
    """The stride of a layer's input: the nearest power of two, because padding changes the size."""
    tensor = layer.input[0] if isinstance(layer.input, list) else layer.input
    return 2 ** round(np.log2(SIDE / tensor.shape[1])) if len(tensor.shape) == 4 else SIDE


def _copy_weights(copies: Sequence[tuple[Any, Any]], channels: int, bgr: bool) -> None:
    first, *others = [pair for old, new in copies for pair in zip(old.weights, new.weights, strict=True)]
    kernel = keras.ops.convert_to_numpy(first[0])
    first[1].assign(adapt_kernel(kernel[:, :, ::-1] if bgr else kernel, channels))
    for old, new in others:
        new.assign(keras.ops.convert_to_numpy(old))


def _stable_names(model: keras.Model) -> dict[Any, str]:
    """Names without the numbers that depend on the process (`add_17`); layers are counted within the model instead."""
    names: dict[Any, str] = {}
    counts: dict[str, int] = {}
    for operation in model.operations:
        prefix = re.sub(r"_\d+$", "", operation.name)
        names[operation] = operation.name
        if prefix.replace("_", "") == operation.__class__.__name__.lower():
            count = counts[prefix] = counts.get(prefix, -1) + 1
            names[operation] = f"{prefix}_{count}" if count else prefix
    return names
