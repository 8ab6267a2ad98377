"""HRNet, as in timm, whose weight files it loads."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import convolution
from kseg.layers import CropLike, Resize

# Channels of the branch at stride 4; those of the next ones double.
VARIANTS = {"hrnet_w18": 18, "hrnet_w32": 32}

OPTIONS = ("filters", "modules", "depth", "mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

IMAGENET_TIMM = {"hrnet_w18": "ms_aug_in1k", "hrnet_w32": "ms_in1k"}
"""The tags of the weights of timm that `"imagenet"` stands for."""

HEADS = (128, 256, 512, 1024)
"""Number of channels of the features at strides 4, 8, 16 and 32."""

_BLOCK = ((r"conv(\d)", "conv"), (r"bn(\d)", "norm"))


def _rules() -> checkpoints.Rules:
    rules = [(r"conv(\d)", r"stem_conv\1"), (r"bn(\d)", r"stem_norm\1")]
    places = [
        (r"layer1\.(\d+)", r"stage1_\1"),
        (r"stage(\d)\.(\d+)\.branches\.(\d)\.(\d+)", r"stage\1_\2_branch\3_\4"),
        (r"incre_modules\.(\d)\.0", r"head\1"),
    ]
    for module, path in places:
        count = module.count("(")
        rules += [(rf"{module}\.{theirs}", rf"{path}_{ours}\{count + 1}") for theirs, ours in _BLOCK]
        rules += [
            (rf"{module}\.downsample\.{i}", rf"{path}_shortcut_{kind}") for i, kind in enumerate(("conv", "norm"))
        ]
    for i, kind in enumerate(("conv", "norm")):
        rules += [
            (rf"transition(\d)\.(\d)\.{i}", rf"transition\1_\2_{kind}"),
            (rf"transition(\d)\.(\d)\.0\.{i}", rf"transition\1_\2_down_{kind}"),
            (rf"stage(\d)\.(\d+)\.fuse_layers\.(\d)\.(\d)\.{i}", rf"stage\1_\2_fuse\4_to\3_{kind}"),
            (rf"stage(\d)\.(\d+)\.fuse_layers\.(\d)\.(\d)\.(\d)\.{i}", rf"stage\1_\2_fuse\4_to\3_step\5_{kind}"),
        ]
    return rules


RULES = _rules()
"""From the modules of timm to the layers of this network."""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = None,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: int | None = None,
    modules: Sequence[int] = (1, 4, 3),
    depth: int = 4,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds an HRNet as an encoder: its stem at stride 2, and its four branches, with more channels, at 4 to 32.

    Args:
        name: A key of `VARIANTS`, which sets `filters`.
        input_shape: Height, width and channels of the image.
        weights: None; `kseg.encoders.build` loads the weights of timm.
        output_stride: 32, since the branches have strides of their own.
        multi_grid: Empty, for the same reason.
        filters: Number of channels of the branch at stride 4, which doubles with each branch.
        modules: How often the branches exchange their features in the second, third and fourth stage.
        depth: Number of residual blocks between two exchanges.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Reference:
        Wang, Sun, Cheng, Jiang, Deng, Zhao, Liu, Mu, Tan, Wang, Liu, Xiao: Deep High-Resolution Representation Learning
        for Visual Recognition, 2019, https://arxiv.org/abs/1908.07919
    """
    width = filters or VARIANTS[name]
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    stem = _relu(convolution(x, "stem_conv1", 64, 3, strides=2), "stem_relu1")
    x = _relu(convolution(stem, "stem_conv2", 64, 3, strides=2), "stem_relu2")
    for index in range(4):
        x = _block(x, f"stage1_{index}", ((64, 1), (64, 3), (256, 1)))
    branches = [x]
    for stage, exchanges in enumerate(modules, start=2):
        widths = [width * 2**branch for branch in range(stage)]
        last = branches[-1]
        for branch, channels in enumerate(widths):
            path = f"transition{stage - 1}_{branch}"
            if branch == len(branches):
                y = convolution(last, f"{path}_down_conv", channels, 3, strides=2)
                branches.append(_relu(y, f"{path}_down_relu"))
            elif branches[branch].shape[-1] != channels:
                y = convolution(branches[branch], f"{path}_conv", channels, 3)
                branches[branch] = _relu(y, f"{path}_relu")
        for module in range(exchanges):
            path = f"stage{stage}_{module}"
            for branch, channels in enumerate(widths):
                for index in range(depth):
                    block = f"{path}_branch{branch}_{index}"
                    branches[branch] = _block(branches[branch], block, ((channels, 3), (channels, 3)))
            branches = _exchanged(branches, path)
    features = [stem]
    for index, (x, channels) in enumerate(zip(branches, HEADS, strict=True)):
        features.append(_block(x, f"head{index}", ((channels // 4, 1), (channels // 4, 3), (channels, 1))))
    return keras.Model(image, features, name="encoder")


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of an HRNet of timm, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> list(convert({"stage2.0.fuse_layers.1.0.0.1.bias": np.ones(36), "classifier.bias": np.ones(1000)}))
        ['stage2_0_fuse0_to1_step0_norm/beta']
    """
    heads = ("downsamp_modules", "final_layer", "classifier")
    inside = checkpoints.unwrapped(state, RULES)
    kept = {name: array for name, array in inside.items() if not any(checkpoints.within(name, each) for each in heads)}
    return checkpoints.rename(kept, RULES)


def _exchanged(branches: Sequence[keras.KerasTensor], path: str) -> list[keras.KerasTensor]:
    """Adds to each branch what the others compute for it."""
    fused = []
    for target, at in enumerate(branches):
        parts = []
        for source, x in enumerate(branches):
            step = f"{path}_fuse{source}_to{target}"
            if source > target:
                x = convolution(x, f"{step}_conv", at.shape[-1], 1)
                x = Resize(factor=2 ** (source - target), interpolation="nearest", name=f"{step}_enlarge")(x)
                x = CropLike("corner", name=f"{step}_crop")(x, like=at)  # odd sizes were rounded up
            for number in range(target - source):
                last = number == target - source - 1
                x = convolution(x, f"{step}_step{number}_conv", (at if last else x).shape[-1], 3, strides=2)
                x = x if last else _relu(x, f"{step}_step{number}_relu")
            parts.append(x)
        fused.append(_relu(keras.layers.Add(name=f"{path}_add{target}")(parts), f"{path}_relu{target}"))
    return fused


def _block(x: keras.KerasTensor, name: str, form: Sequence[tuple[int, int]]) -> keras.KerasTensor:
    """Adds convolutions, whose numbers of filters and kernel sizes `form` lists, to their input or its projection."""
    entry = x
    if x.shape[-1] != form[-1][0]:
        entry = convolution(x, f"{name}_shortcut_conv", form[-1][0], 1)
    for index, (filters, kernel_size) in enumerate(form, start=1):
        x = _relu(x, f"{name}_relu{index - 1}") if index > 1 else x
        x = convolution(x, f"{name}_conv{index}", filters, kernel_size)
    return _relu(keras.layers.Add(name=f"{name}_add")([x, entry]), f"{name}_relu")


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(name=name)(x)
