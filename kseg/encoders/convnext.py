"""ConvNeXt and ConvNeXt V2, as in transformers, timm and torchvision, whose weight files it loads."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.atrous import check_multi_grid
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import added, drops, load_from_torchvision
from kseg.encoders.stages import shortest as shortest_of
from kseg.layers import (
    Conv2D,
    DepthwiseConv2D,
    GlobalResponseNormalization,
    LayerScale,
    SmallestSize,
    exact_gelu,
)

# Channels and number of blocks of the four stages.
VARIANTS = {
    "convnext_tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "convnext_small": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "convnext_base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "convnext_large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
    "convnextv2_atto": ((40, 80, 160, 320), (2, 2, 6, 2)),
    "convnextv2_femto": ((48, 96, 192, 384), (2, 2, 6, 2)),
    "convnextv2_pico": ((64, 128, 256, 512), (2, 2, 6, 2)),
    "convnextv2_nano": ((80, 160, 320, 640), (2, 2, 8, 2)),
    "convnextv2_tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "convnextv2_base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "convnextv2_large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
    "convnextv2_huge": ((352, 704, 1408, 2816), (3, 3, 27, 3)),
}

OPTIONS = ("filters", "depths", "drop_path", "layer_scale", "feature_norms", "mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

EPSILON = 1e-6
"""Epsilon of the layer normalization of the published weights."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    f"convnext_{size}": f"https://download.pytorch.org/models/convnext_{size}-{digits}.pth"
    for size, digits in (("tiny", "983f1562"), ("small", "0c510722"), ("base", "6075fbad"), ("large", "ea097f82"))
}


def _rules(
    stage: str, block: str, norm: str, layers: Mapping[str, str], factors: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The rules for four stages; `{s}` stands for the number of a stage from 0 on, `{n}` for that of torchvision."""
    rules = []
    for s in range(1, 4):
        outside = stage.format(s=s, n=2 * s)
        rules += [(rf"{outside}\.{i}", f"stage{s + 1}_downsample_{each}") for i, each in enumerate(("norm", "conv"))]
    for s in range(4):
        inside = block.format(s=s, n=2 * s + 1)
        for theirs, ours in {norm: "norm", **layers, **factors}.items():
            rules.append((rf"{inside}\.(\d+)\.{theirs}", rf"stage{s + 1}_\1_{ours}"))
    return rules


TRANSFORMERS: checkpoints.Rules = [
    (r"embeddings\.patch_embeddings", "stem_conv"),
    (r"embeddings\.layernorm", "stem_norm"),
    *_rules(
        r"encoder\.stages\.{s}\.downsampling_layer",
        r"encoder\.stages\.{s}\.layers",
        "layernorm",
        {"dwconv": "depthwise_conv", "pwconv1": "expand", "pwconv2": "project"},
        {
            "layer_scale_parameter": "scale/scale",
            r"grn\.weight": "response/scale",
            r"grn\.bias": "response/shift",
        },
    ),
    *((rf"hidden_states_norms\.stage{stage}", f"stage{stage}_norm") for stage in range(1, 5)),
]
"""From the modules and tensors of transformers to those of this network."""

TIMM: checkpoints.Rules = [
    (r"stem\.0", "stem_conv"),
    (r"stem\.1", "stem_norm"),
    *_rules(
        r"stages\.{s}\.downsample",
        r"stages\.{s}\.blocks",
        "norm",
        {"conv_dw": "depthwise_conv", r"mlp\.fc1": "expand", r"mlp\.fc2": "project"},
        {"gamma": "scale/scale", r"mlp\.grn\.weight": "response/scale", r"mlp\.grn\.bias": "response/shift"},
    ),
]
TORCHVISION: checkpoints.Rules = [
    (r"features\.0\.0", "stem_conv"),
    (r"features\.0\.1", "stem_norm"),
    *_rules(
        r"features\.{n}",
        r"features\.{n}",
        r"block\.2",
        {r"block\.0": "depthwise_conv", r"block\.3": "expand", r"block\.5": "project"},
        {"layer_scale": "scale/scale"},
    ),
]


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    smallest: int = 1,
    filters: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    drop_path: float = 0.0,
    layer_scale: float = 1e-6,
    feature_norms: bool = True,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a ConvNeXt as an encoder, with the outputs of its four stages at strides 4, 8, 16 and 32.

    Rows and columns that do not fill a patch are left out, as in PyTorch: sizes are rounded down. Where a stride
    becomes dilation, every k-th position of the dilated features equals the strided ones, from the first on.

    Args:
        name: A key of `VARIANTS`, which sets `filters` and `depths`. The blocks of V2 have global response
            normalization instead of the scale.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's; V2 has only those of timm, which `kseg.encoders.build` loads) or None.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last depthwise convolutions.
        smallest: Smallest height and width of an image.
        filters: Number of channels of the stages.
        depths: Number of blocks of the stages.
        drop_path: Fraction of the images for which the last block leaves out what it would add, during training; it
            increases linearly from 0 in the first block.
        layer_scale: Initial factor of what a block adds, not in V2.
        feature_norms: Whether layer normalization follows each stage on the way to the output, as in the networks for
            detection and segmentation of the authors and of transformers. The ImageNet weights have none.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If the options do not belong to the ImageNet weights, or `multi_grid` has too many factors.

    Reference:
        Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, 2022, https://arxiv.org/abs/2201.03545;
        Woo et al.: ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders, 2023,
        https://arxiv.org/abs/2301.00808
    """
    filters, depths = (given or known for given, known in zip((filters, depths), VARIANTS[name], strict=True))
    check_multi_grid(multi_grid, sum(depths))
    factors = iter([1] * (sum(depths) - len(multi_grid)) + list(multi_grid))
    image = x = keras.Input(input_shape, name="image")
    if smallest > 1:
        x = SmallestSize(smallest, dtype="float32", name="size")(x)
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(x)
    x = _norm("stem_norm")(Conv2D(filters[0], 4, strides=4, name="stem_conv")(x))
    features, rate = [], 1
    for stage, (width, dropped) in enumerate(zip(filters, drops(drop_path, depths), strict=True), start=1):
        if stage > 1:
            x = _norm(f"stage{stage}_downsample_norm")(x)
            strides = 2 if 2 ** (stage + 1) <= output_stride else 1
            if strides == 1:  # what were neighbors in the strided network are `rate` pixels apart
                x = keras.layers.ZeroPadding2D(((0, rate), (0, rate)), name=f"stage{stage}_downsample_pad")(x)
            x = Conv2D(width, 2, strides=strides, dilation_rate=rate, name=f"stage{stage}_downsample_conv")(x)
            rate = rate if strides == 2 else 2 * rate
        for repeat, drop in enumerate(dropped):
            block = f"stage{stage}_{repeat}"
            y = DepthwiseConv2D(7, padding="same", dilation_rate=rate * next(factors), name=f"{block}_depthwise_conv")(
                x
            )
            y = _norm(f"{block}_norm")(y)
            y = keras.layers.Dense(4 * width, name=f"{block}_expand")(y)
            y = keras.layers.Activation(exact_gelu, name=f"{block}_gelu")(y)
            if name.startswith("convnextv2"):
                y = GlobalResponseNormalization(name=f"{block}_response")(y)
            y = keras.layers.Dense(width, name=f"{block}_project")(y)
            if not name.startswith("convnextv2"):
                y = LayerScale(layer_scale, name=f"{block}_scale")(y)
            x = added(x, y, drop, block)
        features.append(_norm(f"stage{stage}_norm")(x) if feature_norms else x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        load_from_torchvision(encoder, ADDRESSES[name], convert)
    return encoder


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a ConvNeXt of transformers, timm or torchvision, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`, with `feature_norms` only if the state has them.

    Example:
        >>> list(convert({"stages.0.blocks.2.gamma": np.ones(96), "head.fc.bias": np.ones(1000)}))
        ['stage1_2_scale/scale']
    """
    rules = [*TRANSFORMERS, *TIMM, *TORCHVISION]
    inside = checkpoints.unwrapped(state, rules)
    heads = ("head", "norm_pre", "layernorm", "classifier")
    kept = {name: array for name, array in inside.items() if not any(checkpoints.within(name, head) for head in heads)}
    arrays = checkpoints.rename(kept, rules)
    for key, array in arrays.items():
        if key.endswith(("_response/scale", "_response/shift")):
            arrays[key] = array.reshape(1, 1, 1, -1)
        elif key.endswith("_scale/scale"):
            arrays[key] = array.reshape(-1)
        elif key.endswith(("_expand/kernel", "_project/kernel")):  # some of timm's are 1x1 convolutions
            arrays[key] = array.reshape(array.shape[-2:])
    return arrays


def options(name: str) -> dict[str, Any]:
    """Returns the options of a variant and their values, the keys in `OPTIONS`."""
    filters, depths = VARIANTS[name]
    defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
    return {**{key: defaults[key] for key in OPTIONS}, "filters": filters, "depths": depths}


def shortest(given: Mapping[str, Any], *, second: bool = False) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Args:
        given: Options, keys in `OPTIONS`.
        second: Whether it is a ConvNeXt V2.

    Example:
        >>> shortest({"filters": [40, 80, 160, 320], "depths": [2, 2, 6, 2]}, second=True)
        'convnextv2_atto'
        >>> shortest({"depths": [1, 1, 1, 1]})
        {'name': 'convnext_tiny', 'depths': [1, 1, 1, 1]}
    """
    return shortest_of(given, [name for name in VARIANTS if name.startswith("convnextv2") == second], options)


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)
