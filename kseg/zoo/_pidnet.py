"""PIDNet: branches for details, context and boundaries, which decide together."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kseg import checkpoints, encoders, pretrained
from kseg.layers import (
    NORM_EPSILON,
    NORM_MOMENTUM,
    BatchNormalization,
    BoundaryAttentionFusion,
    NormActConv,
    PixelAttentionFusion,
    Resize,
    SegmentationHead,
)
from kseg.zoo._builder import builder
from kseg.zoo._pidnet_names import RULES


class Variant(NamedTuple):
    """The sizes of one of the published networks."""

    filters: int
    shallow: int
    deep: int
    pyramid_filters: int
    head_filters: int


VARIANTS = {"s": Variant(32, 2, 3, 96, 128), "m": Variant(64, 2, 3, 96, 128), "l": Variant(64, 3, 4, 112, 256)}


@builder
def pidnet(
    num_classes: int,
    *,
    variant: str = "s",
    encoder_weights: str | os.PathLike | None = None,
    filters: int | None = None,
    pyramid_filters: int | None = None,
    head_filters: int | None = None,
    auxiliary: bool = False,
    align_corners: bool = True,
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds PIDNet, for real-time segmentation, with an encoder of its own.

    The context branch (I) goes down to stride 64 and ends in pooling at several scales. The detail branch (P) keeps
    stride 8 and takes from the context what agrees with it. The boundary branch (D), also at stride 8, learns where
    classes meet; there, the result comes from the details, elsewhere from the context.

    Train with `auxiliary=True` and the labels for all three outputs: `fit(x, {"logits": y, "auxiliary": y, "boundary":
    y})` after `compile(loss={"logits": OHEM(), "auxiliary": CrossEntropy(), "boundary": BorderDetection()},
    loss_weights={"logits": 1, "auxiliary": 0.4, "boundary": 20})`, with the losses of `kseg.losses`. The paper adds the
    cross-entropy of `logits` at pixels whose `boundary` probability is above 0.8: in a training loop of your own, pass
    these pixels as `sample_weight` to `kseg.losses.cross_entropy`.

    Args:
        variant: `"s"`, `"m"` or `"l"`, as in the paper. `"l"` has more blocks, pools in series and fuses by a 3x3
            convolution; the others pool in parallel and fuse by two 1x1 convolutions.
        encoder_weights: None, or a checkpoint of the authors, such as `PIDNet_S_ImageNet.pth.tar`. A warning lists the
            layers that it lacks: the ImageNet weights lack the boundary branch.
        filters: Number of channels at stride 4, of which all others in the branches are multiples; None for the
            variant's.
        pyramid_filters: Number of channels of each scale of the pooling; None for the variant's.
        head_filters: Number of channels of the convolution before the scores; None for the variant's.
        auxiliary: Whether to return what is trained with the scores too: scores of the detail branch, and one logit for
            the boundary between classes.
        align_corners: Whether to enlarge the scores with aligned corners, as the authors do.

    Returns:
        A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`; with `auxiliary` to
        `{"logits": ..., "auxiliary": ..., "boundary": ...}`, the last one `(N, H, W, 1)`.

    Reference:
        Xu, Xiong, Bhattacharyya: PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers, 2023,
        https://arxiv.org/abs/2206.02066

    Example:
        >>> pidnet(3, filters=4, input_shape=(64, 65, 3)).output_shape
        (None, 64, 65, 3)
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be {', '.join(VARIANTS)}, got {variant!r}")
    own = {"filters": filters, "pyramid_filters": pyramid_filters, "head_filters": head_filters}
    sizes = VARIANTS[variant]._replace(**{key: value for key, value in own.items() if value is not None})
    image = keras.Input(input_shape, name="image")
    encoder = _encoder(sizes, variant == "l", input_shape)
    detail, boundary, context, early_detail, early_boundary = encoder(image)
    context = Resize(name="enlarge")(context, like=detail)
    fuse = BoundaryAttentionFusion(4 * sizes.filters, light=variant != "l", name="fuse")
    head: dict[str, Any] = {"activation": activation, "align_corners": align_corners}
    x = _head(fuse(detail, context, boundary), image, "head", num_classes, sizes.head_filters, **head)
    outputs: Any = x
    if auxiliary:
        outputs = {
            "logits": x,
            "auxiliary": _head(early_detail, image, "auxiliary", num_classes, sizes.head_filters, **head),
            "boundary": _head(
                early_boundary, image, "boundary", 1, sizes.filters, **head | {"activation": activation and "sigmoid"}
            ),
        }
    if encoder_weights is not None:
        _load_encoder(encoder, encoder_weights)
    return keras.Model(image, outputs, name="pidnet")


def _encoder(sizes: Variant, large: bool, input_shape: Sequence[int | None]) -> keras.Model:
    """Returns the features of the three branches, and those of details and boundaries before the last stages."""
    width, shallow, deep = sizes.filters, sizes.shallow, sizes.deep
    image = keras.Input(input_shape, name="image")
    x = encoders.channels.IMAGENET.layer(image.shape[-1])(image)
    x = _relu(encoders.convolution(x, "stem1_conv", width, 3, strides=2, use_bias=True))
    x = _relu(encoders.convolution(x, "stem2_conv", width, 3, strides=2, use_bias=True))
    x = _relu(_basic(x, "layer1", width, shallow))
    x = _relu(_basic(x, "layer2", 2 * width, shallow, strides=2))
    p = _basic(x, "p_layer3", 2 * width, shallow)
    d = _block(x, "d_layer3", [(2 * width if large else width, 3)] * 2)

    x = _relu(_basic(x, "layer3", 4 * width, deep, strides=2))
    p = PixelAttentionFusion(width, name="guide3")(p, encoders.convolution(x, "compress3_conv", 2 * width, 1))
    d = _added(d, encoders.convolution(x, "diff3_conv", d.shape[-1], 3), "diff3")
    p = early_p = _relu(p)

    x = _relu(_basic(x, "layer4", 8 * width, deep, strides=2))
    p = _basic(p, "p_layer4", 2 * width, shallow)
    p = PixelAttentionFusion(width, name="guide4")(p, encoders.convolution(x, "compress4_conv", 2 * width, 1))
    d = _relu(d)
    if large:
        d = _block(d, "d_layer4", [(2 * width, 3)] * 2)
    else:
        d = _block(d, "d_layer4_0", [(width, 1), (width, 3), (2 * width, 1)])
    d = _added(d, encoders.convolution(x, "diff4_conv", 2 * width, 3), "diff4")
    d = early_d = _relu(d)

    p = _block(_relu(p), "p_layer5_0", _bottleneck(2 * width))
    d = _block(d, "d_layer5_0", _bottleneck(2 * width))
    x = _block(x, "layer5_0", _bottleneck(8 * width), strides=2)
    x = _block(x, "layer5_1", _bottleneck(8 * width))
    x = _pooled(x, sizes.pyramid_filters, 4 * width, in_series=large)
    return keras.Model(image, [p, d, x, early_p, early_d], name="encoder")


def _relu(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.ReLU(name=f"{x._keras_history.operation.name}_relu")(x)


def _block(x: keras.KerasTensor, name: str, form: Sequence[tuple[int, int]], strides: int = 1) -> keras.KerasTensor:
    """Adds convolutions, as pairs of filters and kernel size, to their input or its projection; no ReLU at the end."""
    entry = x
    if strides > 1 or x.shape[-1] != form[-1][0]:
        entry = encoders.convolution(x, f"{name}_shortcut_conv", form[-1][0], 1, strides=strides)
    for index, (filters, kernel_size) in enumerate(form, start=1):
        first = kernel_size == 3 and all(size == 1 for _, size in form[: index - 1])
        x = encoders.convolution(x, f"{name}_conv{index}", filters, kernel_size, strides=strides if first else 1)
        x = _relu(x) if index < len(form) else x
    return keras.layers.Add(name=f"{name}_add")([x, entry])


def _bottleneck(width: int) -> list[tuple[int, int]]:
    return [(width, 1), (width, 3), (2 * width, 1)]


def _basic(x: keras.KerasTensor, name: str, width: int, repeats: int, strides: int = 1) -> keras.KerasTensor:
    """A stage of blocks of two 3x3 convolutions, with ReLUs between the blocks."""
    for index in range(repeats):
        x = _relu(x) if index else x
        x = _block(x, f"{name}_{index}", [(width, 3)] * 2, 1 if index else strides)
    return x


def _added(x: keras.KerasTensor, coarse: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.Add(name=f"{name}_add")([x, Resize(name=f"{name}_enlarge")(coarse, like=x)])


def _pooled(x: keras.KerasTensor, width: int, filters: int, *, in_series: bool) -> keras.KerasTensor:
    """Means of windows of 5, 9 and 17 pixels and of the whole image, each added to the scale before or to the first."""
    first = NormActConv(width, 1, name="pool_scale0")(x)
    parts = [first]
    for index, size in enumerate((5, 9, 17, None), start=1):
        if size is None:
            y = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype="float32", name=f"pool_means{index}")(x)
        else:
            y = keras.layers.ZeroPadding2D(size // 2, name=f"pool_pad{index}")(x)
            y = keras.layers.AveragePooling2D(size, 2**index, name=f"pool_means{index}")(y)
        y = NormActConv(width, 1, name=f"pool_scale{index}")(y)
        y = _added(parts[-1] if in_series else first, y, f"pool_scale{index}")
        parts.append(NormActConv(width, name=f"pool_process{index}")(y) if in_series else y)
    if not in_series:
        y = keras.layers.Concatenate(name="pool_scales")(parts[1:])
        parts = [first, NormActConv(4 * width, groups=4, name="pool_process")(y)]
    y = NormActConv(filters, 1, name="pool_compress")(keras.layers.Concatenate(name="pool_concatenate")(parts))
    return keras.layers.Add(name="pool_add")([y, NormActConv(filters, 1, name="pool_shortcut")(x)])


def _head(
    x: keras.KerasTensor, image: keras.KerasTensor, name: str, num_classes: int, filters: int, **options: Any
) -> keras.KerasTensor:
    x = NormActConv(filters, name=f"{name}_conv")(x)
    x = BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"{name}_norm")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    return SegmentationHead(num_classes, name=name, **options)(x, like=image)


def convert(
    state: Mapping[str, np.ndarray], *, auxiliary: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Converts a state dict of the authors' repository, XuJiacong/PIDNet.

    Args:
        state: `{name: array}` in PyTorch's layout.
        auxiliary: Whether to keep the two heads that are used in training only.

    Returns:
        The arguments of `pidnet`, with `num_classes`, and `{key: array}`.

    Raises:
        ValueError: If the tensors are not those of a PIDNet for segmentation.
    """
    arrays = checkpoints.rename(state, RULES)
    layers = {
        "num_classes": "head/conv",
        "filters": "encoder/stem1_conv",
        "pyramid_filters": "encoder/pool_scale0/conv",
        "head_filters": "head_conv/conv",
    }
    if missing := [layer for layer in layers.values() if f"{layer}/kernel" not in arrays]:
        raise ValueError(f"these are not the tensors of a PIDNet for segmentation: they lack {', '.join(missing)}")
    found = {option: arrays[f"{layer}/kernel"].shape[-1] for option, layer in layers.items()}
    large = "fuse/mixed/conv/kernel" in arrays
    variant = "l" if large else min("sm", key=lambda name: abs(VARIANTS[name].filters - found["filters"]))
    known = VARIANTS[variant]._asdict()
    sizes = {option: count for option, count in found.items() if known.get(option) != count}
    if not auxiliary:
        arrays = {key: array for key, array in arrays.items() if not key.startswith(("auxiliary", "boundary"))}
    return {"variant": variant, "auxiliary": auxiliary, **sizes}, arrays


def _load_encoder(encoder: keras.Model, path: str | os.PathLike) -> None:
    """Loads the tensors of a checkpoint of the authors that the encoder has."""
    found = checkpoints.rename(checkpoints.read(path), RULES)
    arrays = {key.removeprefix("encoder/"): array for key, array in found.items() if key.startswith("encoder/")}
    if "stem1_conv/kernel" in arrays:
        kernel = encoders.channels.adapt_kernel(arrays["stem1_conv/kernel"], encoder.input_shape[-1])
        arrays["stem1_conv/kernel"] = kernel
    pretrained.load(encoder, arrays, strict=False)
