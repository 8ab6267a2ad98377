"""SwiftNet: a light decoder of lateral features, behind spatial pyramid pooling or on a pyramid of images."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import checkpoints, encoders
from kseg.encoders import resnet
from kseg.layers import (
    NORM_EPSILON,
    NORM_MOMENTUM,
    BatchNormalization,
    BicubicReduction,
    Conv2D,
    GridMeans,
    NormActConv,
    Resize,
    SegmentationHead,
)
from kseg.zoo._builder import builder


@builder
def swiftnet(
    num_classes: int,
    *,
    encoder: encoders.EncoderLike = "resnet18",
    encoder_weights: str | os.PathLike | None = "imagenet",
    pyramid: int = 1,
    level_norms: bool = False,
    filters: int = 128,
    bins: Sequence[int] = (8, 4, 2),
    head_kernel_size: int = 3,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds SwiftNet, for real-time segmentation: enlarge, add the next finer features, convolve, up to stride 4.

    Every convolution of the decoder follows batch normalization and ReLU. With one size of the image, the coarsest
    features are joined with their means over grids. With a `pyramid`, the same encoder also sees the image reduced to
    1/2, 1/4 and so on, and features of all levels that have the same stride in the image are added. (The paper takes
    the features of a ResNet before the last ReLU of each stage, its code behind it; so does this builder, but before it
    with `level_norms`.)

    Args:
        pyramid: Number of sizes of the image: 1, or 2 as in the paper's pyramid, to 4.
        level_norms: Whether each level of the pyramid has batch normalizations of its own in the encoder, which must be
            a ResNet then, and the lateral features come from 1x1 convolutions alone, as in the paper of 2020. Without
            it, they come from 3x3 convolutions behind normalization.
        filters: Number of channels of the decoder.
        bins: Number of rows of each grid, for `pyramid=1`. The number of columns follows from the shape of the image.
        head_kernel_size: Height and width of the kernel that computes the scores: 3 in the paper of 2019, 1 in the code
            of 2020.

    Raises:
        ValueError: If `pyramid` is not 1 to 4, or the encoder does not fit.

    Reference:
        Orsic, Kreso, Bevandic, Segvic: In Defense of Pre-trained ImageNet Architectures for Real-time Semantic
        Segmentation of Road-driving Images, 2019, https://arxiv.org/abs/1903.08469; with `level_norms`: Orsic, Segvic:
        Efficient Semantic Segmentation with Pyramidal Fusion, 2020

    Example:
        >>> swiftnet(3, encoder="efficientnet_lite0", encoder_weights=None, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if pyramid not in (1, 2, 3, 4):
        raise ValueError(f"pyramid must be 1, 2, 3 or 4, got {pyramid!r}")
    if level_norms and (pyramid == 1 or _name(encoder) not in resnet.VARIANTS):
        raise ValueError("level_norms=True needs a pyramid of 2 or more and a ResNet as encoder")
    image = keras.Input(input_shape, name="image")
    if pyramid == 1:
        maps = _used(encoders.extract(image, encoder, weights=encoder_weights))
        x = _pooled(maps.pop(max(maps)), filters, bins)
        maps = {stride: NormActConv(filters, 1, name=f"lateral_{stride}")(feature) for stride, feature in maps.items()}
    else:
        maps = _summed(image, encoder, encoder_weights, pyramid, level_norms, filters)
        x = maps.pop(max(maps))
    for stride in sorted(maps, reverse=True):
        x = Resize(name=f"enlarge_{stride}")(x, like=maps[stride])
        x = keras.layers.Add(name=f"add_{stride}")([x, maps[stride]])
        x = NormActConv(filters, name=f"blend_{stride}")(x)
    x = BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name="head_norm")(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    head = SegmentationHead(num_classes, kernel_size=head_kernel_size, activation=activation, name="head")
    return keras.Model(image, head(x, like=image), name="swiftnet")


def _name(encoder: encoders.EncoderLike) -> Any:
    return encoder.get("name") if isinstance(encoder, Mapping) else encoder


def _used(features: encoders.Features) -> dict[int, keras.KerasTensor]:
    """The features from stride 4 on, by stride."""
    return {4: features[4]} | {stride: feature for stride, feature in features.by_stride.items() if stride > 4}


def _pooled(x: keras.KerasTensor, filters: int, bins: Sequence[int]) -> keras.KerasTensor:
    """Joins features with their means over grids."""
    x = NormActConv(filters, 1, name="pool_project")(x)
    parts = [x]
    for index, rows in enumerate(bins, start=1):
        y = GridMeans(rows, name=f"pool_{index}_means")(x)
        y = NormActConv(filters // len(bins), 1, name=f"pool_{index}")(y)
        parts.append(Resize(name=f"pool_{index}_enlarge")(y, like=x))
    return NormActConv(filters, 1, name="pool_fuse")(keras.layers.Concatenate(name="pool_concatenate")(parts))


def _summed(
    image: keras.KerasTensor,
    encoder: encoders.EncoderLike,
    encoder_weights: str | os.PathLike | None,
    pyramid: int,
    level_norms: bool,
    filters: int,
) -> dict[int, keras.KerasTensor]:
    """Returns the lateral features of a pyramid of images, added where their strides in the image are equal."""
    pixels = keras.Input((None, None, image.shape[-1]), name="pixels")
    features = encoders.extract(pixels, encoder, weights=encoder_weights)
    trunk = keras.Model(pixels, features.coarsest).get_layer("encoder")
    strides = list(features.by_stride)
    reduced = [
        BicubicReduction(2**level, dtype="float32", name=f"reduce_{2**level}")(image) for level in range(1, pyramid)
    ]
    if level_norms:
        outputs = _with_level_norms(trunk, pyramid)([image, *reduced])
        levels = [outputs[start : start + len(strides)] for start in range(0, len(outputs), len(strides))]
    else:
        levels = [trunk(each) for each in (image, *reduced)]
    shared = {
        stride: Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"lateral_{stride}")
        if level_norms
        else NormActConv(filters, name=f"lateral_{stride}")
        for stride in _used(features)
    }
    maps: dict[int, list[keras.KerasTensor]] = {}
    for level, outputs in enumerate(levels):
        for stride, feature in zip(strides, outputs, strict=True):
            if stride in shared:
                maps.setdefault(stride * 2**level, []).append(shared[stride](feature))
    return {stride: _sum(each, stride) for stride, each in maps.items()}


def _sum(maps: Sequence[keras.KerasTensor], stride: int) -> keras.KerasTensor:
    """Adds features of about the same size: levels round odd sizes in different ways."""
    first, *others = maps
    others = [Resize(name=f"match_{stride}_{i}")(x, like=first) for i, x in enumerate(others, start=1)]
    return keras.layers.Add(name=f"sum_{stride}")([first, *others]) if others else first


def _with_level_norms(trunk: keras.Model, pyramid: int) -> keras.Model:
    """Returns an encoder of several images that share all weights but those of normalizations outside of shortcuts."""
    inputs = [trunk.inputs[0]]
    outputs = [_before_relu(x) for x in trunk.outputs]
    net = keras.Model(inputs, outputs)
    for level in range(2, pyramid + 1):

        def own(layer: Any, level: int = level) -> Any:
            if not isinstance(layer, keras.layers.BatchNormalization) or "shortcut" in layer.name:
                return layer
            name = re.sub(r"(norm\d*)$", rf"level{level}_\1", layer.name)
            new = type(layer).from_config({**layer.get_config(), "name": name})
            new.build(layer.input.shape)
            new.set_weights(layer.get_weights())
            return new

        pixels = keras.Input(trunk.input_shape[1:], name=f"level{level}_image")
        copy = keras.models.clone_model(net, input_tensors=[pixels], clone_function=own)
        inputs.append(pixels)
        outputs += copy.outputs
    return keras.Model(inputs, outputs, name="encoder")


def _before_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    layer, node, _ = x._keras_history
    return layer._inbound_nodes[node].input_tensors[0] if isinstance(layer, keras.layers.ReLU) else x


def _norm_conv(module: str, path: str) -> list[tuple[str, str]]:
    return [(rf"{module}\.norm", f"{path}/norm"), (rf"{module}\.conv", f"{path}/conv")]


def _rules(pyramid: int) -> checkpoints.Rules:
    """The rules for the names of the authors' repository."""
    finest, coarsest = 4, 32 * 2 ** (pyramid - 1)
    rules = [
        *checkpoints.below(resnet.RULES, "backbone.", "encoder/"),
        (r"backbone\.bn1\.0", "encoder/norm1"),
        (r"backbone\.layer(\d)\.(\d+)\.bn(\d)\.0", r"encoder/layer\1_\2_norm\3"),
        *_norm_conv(r"backbone\.spp\.spp\.spp_bn", "pool_project"),
        *_norm_conv(r"backbone\.spp\.spp\.spp_fuse", "pool_fuse"),
        (r"logits\.norm", "head_norm"),
        (r"logits\.conv", "head/conv"),
    ]
    for level in range(1, pyramid):
        rules.append((rf"backbone\.bn1\.{level}", f"encoder/level{level + 1}_norm1"))
        name = rf"encoder/layer\1_\2_level{level + 1}_norm\3"
        rules.append((rf"backbone\.layer(\d)\.(\d+)\.bn(\d)\.{level}", name))
    for index in range(3):
        rules += _norm_conv(rf"backbone\.spp\.spp\.spp{index}", f"pool_{index + 1}")
        rules += _norm_conv(rf"backbone\.upsample\.{index}\.bottleneck", f"lateral_{16 // 2**index}")
        rules += _norm_conv(rf"backbone\.upsample\.{index}\.blend_conv", f"blend_{16 // 2**index}")
    for index in range(4):
        rules.append((rf"backbone\.upsample_bottlenecks\.{index}", f"lateral_{32 // 2**index}"))
        rules += _norm_conv(rf"backbone\.upsample_bottlenecks\.{index}", f"lateral_{32 // 2**index}")
    for index in range(pyramid + 2):
        stride = max(coarsest // 2 ** (index + 1), finest)
        rules += _norm_conv(rf"backbone\.upsample_blends\.{index}\.blend_conv", f"blend_{stride}")
    return rules


def convert(
    state: Mapping[str, np.ndarray], *, auxiliary: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Converts a state dict of the authors' repository, orsic/swiftnet, on ResNet-18 or ResNet-34.

    Args:
        state: `{name: array}` in PyTorch's layout.
        auxiliary: False: there are no auxiliary heads.

    Returns:
        The arguments of `swiftnet`, with `num_classes`, and `{key: array}`.

    Raises:
        ValueError: If the tensors are not those of such a model.
    """
    if auxiliary:
        raise ValueError("SwiftNet has no auxiliary heads: leave out auxiliary=True")
    state = checkpoints.unwrapped(state, _rules(4))
    if (
        not {"logits.conv.weight", "backbone.layer4.1.conv2.weight"} <= state.keys()
        or "backbone.layer1.0.conv3.weight" in state
    ):
        raise ValueError(
            "these are not the tensors of a SwiftNet on ResNet-18 or ResNet-34, with backbone.* and logits.*"
        )
    blends = {name.split(".")[2] for name in state if name.startswith("backbone.upsample_blends.")}
    classes, filters, side, _ = state["logits.conv.weight"].shape
    pyramid = max(len(blends) - 2, 1)
    name = "resnet34" if "backbone.layer3.5.conv1.weight" in state else "resnet18"
    mean, std = (state.get(f"backbone.img_{each}") for each in ("mean", "std"))
    encoder: Any = name
    if mean is not None and std is not None:
        scale = state.get("backbone.img_scale", np.float32(1))
        encoder = {"name": name, "mean": (mean * scale).ravel().tolist(), "std": (std * scale).ravel().tolist()}
    arguments = {
        "num_classes": classes,
        "encoder": encoder,
        "pyramid": pyramid,
        "level_norms": "backbone.bn1.0.weight" in state,
        "filters": filters,
        "head_kernel_size": side,
    }
    state = {name: array for name, array in state.items() if not name.startswith("backbone.img_")}
    arrays = checkpoints.rename({"logits.conv.bias": np.zeros(classes, "float32"), **state}, _rules(pyramid))
    return arguments, arrays
