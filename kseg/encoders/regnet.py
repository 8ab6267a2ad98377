"""RegNetY, as in timm, whose weight files it loads."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.atrous import shifted_rates
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import convolution
from kseg.layers import SqueezeExcitation

# Channels and number of blocks of the four stages, and channels of a group of the 3x3 convolutions.
VARIANTS = {
    "regnety_002": ((24, 56, 152, 368), (1, 1, 4, 7), 8),
    "regnety_004": ((48, 104, 208, 440), (1, 3, 6, 6), 8),
    "regnety_006": ((48, 112, 256, 608), (1, 3, 7, 4), 16),
    "regnety_008": ((64, 128, 320, 768), (1, 3, 8, 2), 16),
    "regnety_016": ((48, 120, 336, 888), (2, 6, 17, 2), 24),
    "regnety_032": ((72, 216, 576, 1512), (2, 5, 13, 1), 24),
    "regnety_040": ((128, 192, 512, 1088), (2, 6, 12, 2), 64),
    "regnety_064": ((144, 288, 576, 1296), (2, 7, 14, 2), 72),
    "regnety_080": ((168, 448, 896, 2016), (2, 4, 10, 1), 56),
    "regnety_120": ((224, 448, 896, 2240), (2, 5, 11, 1), 112),
    "regnety_160": ((224, 448, 1232, 3024), (2, 4, 11, 1), 112),
    "regnety_320": ((232, 696, 1392, 3712), (2, 5, 12, 1), 232),
}

TORCHVISION_FILTERS = {"regnety_008": (64, 144, 320, 784), "regnety_080": (224, 448, 896, 2016)}
"""Channels of the stages of timm's models that end with `_tv`, whose numbers torchvision rounds in another way."""

STEM = 32
"""Number of channels of the first convolution."""

OPTIONS = ("filters", "depths", "group", "mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

IMAGENET_TIMM = dict(
    zip(
        VARIANTS,
        (
            "pycls_in1k", "tv2_in1k", "pycls_in1k", "pycls_in1k", "tv2_in1k", "ra_in1k", "ra3_in1k", "ra3_in1k",
            "ra3_in1k", "sw_in12k_ft_in1k", "sw_in12k_ft_in1k", "tv2_in1k",
        ),
        strict=True,
    )
)  # fmt: skip
"""The tags of the weights of timm that `"imagenet"` stands for."""

RULES: checkpoints.Rules = (
    (r"stem\.conv", "stem_conv"),
    (r"stem\.bn", "stem_norm"),
    (r"s(\d)\.b(\d+)\.conv(\d)\.conv", r"stage\1_\2_conv\3"),
    (r"s(\d)\.b(\d+)\.conv(\d)\.bn", r"stage\1_\2_norm\3"),
    (r"s(\d)\.b(\d+)\.se\.fc1", r"stage\1_\2_excite/squeeze"),
    (r"s(\d)\.b(\d+)\.se\.fc2", r"stage\1_\2_excite/excite"),
    (r"s(\d)\.b(\d+)\.downsample\.conv", r"stage\1_\2_shortcut_conv"),
    (r"s(\d)\.b(\d+)\.downsample\.bn", r"stage\1_\2_shortcut_norm"),
)
"""From the modules of timm to the layers of this network."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = None,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    group: int | None = None,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a RegNetY as an encoder: its stem at stride 2, then its four stages at 4, 8, 16 and 32.

    Where a stride becomes dilation, the convolution that loses the stride keeps the previous dilation rate, and those
    after it get the new one, as in timm.

    Args:
        name: A key of `VARIANTS`, which sets `filters`, `depths` and `group`.
        input_shape: Height, width and channels of the image.
        weights: None; `kseg.encoders.build` loads the weights of timm.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last 3x3 convolutions.
        filters: Number of channels of the stages.
        depths: Number of blocks of the stages.
        group: Number of channels of a group of the 3x3 convolutions.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If `multi_grid` has too many factors.

    Reference:
        Radosavovic, Kosaraju, Girshick, He, Dollár: Designing Network Design Spaces, 2020,
        https://arxiv.org/abs/2003.13678
    """
    known = VARIANTS[name]
    filters, depths, group = filters or known[0], depths or known[1], group or known[2]
    full = [max(1, 4 * 2**stage // output_stride) for stage, repeats in enumerate(depths) for _ in range(repeats)]
    rates = shifted_rates(full, multi_grid)
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = keras.layers.ReLU(name="stem_relu")(convolution(x, "stem_conv", STEM, 3, strides=2))
    features = [x]
    for stage, (width, repeats) in enumerate(zip(filters, depths, strict=True), start=1):
        for repeat in range(1, repeats + 1):
            block, entry = f"stage{stage}_{repeat}", x
            strides = 2 if repeat == 1 and 2 ** (stage + 1) <= output_stride else 1
            if repeat == 1:
                entry = convolution(x, f"{block}_shortcut_conv", width, 1, strides=strides)
            y = keras.layers.ReLU(name=f"{block}_relu1")(convolution(x, f"{block}_conv1", width, 1))
            groups, rate = width // min(group, width), next(rates)
            y = convolution(y, f"{block}_conv2", width, 3, strides=strides, groups=groups, dilation_rate=rate)
            y = keras.layers.ReLU(name=f"{block}_relu2")(y)
            weight = SqueezeExcitation(hidden=round(x.shape[-1] / 4), name=f"{block}_excite")(y)
            y = keras.layers.Multiply(name=f"{block}_multiply")([y, weight])
            y = convolution(y, f"{block}_conv3", width, 1)
            x = keras.layers.Add(name=f"{block}_add")([y, entry])
            x = keras.layers.ReLU(name=f"{block}_relu")(x)
        features.append(x)
    return keras.Model(image, features, name="encoder")


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a RegNetY of timm, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"s1.b2.se.fc1.bias": np.ones(6), "head.fc.bias": np.ones(1000)}))
        ['stage1_2_excite/squeeze/bias']
    """
    inside = checkpoints.unwrapped(state, RULES)
    kept = {name: array for name, array in inside.items() if not checkpoints.within(name, "head")}
    return checkpoints.rename(kept, RULES)
