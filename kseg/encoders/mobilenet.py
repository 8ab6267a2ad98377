"""MobileNetV2, MobileNetV3, EfficientNet and EfficientNet-Lite as in PyTorch's libraries, whose weight files they load.

Padding is symmetric, as in PyTorch, for odd and for even sizes; that of keras.applications (`mobilenet_v2`,
`mobilenet_v3_small`, `mobilenet_v3_large`, `efficientnet_b0`) is not, so that weights of one do not fit the other. The
option `padding="same"` computes it, for weights that were trained in TensorFlow.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import checkpoints
from kseg.encoders.atrous import shifted_rates
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.mobile_names import efficientnet_pytorch, rules, timm_rules, transformers
from kseg.encoders.mobile_variants import SECOND, VARIANTS, Block, channels, divisible, scaled
from kseg.encoders.mobile_variants import features as last_blocks
from kseg.encoders.stages import load_from_torchvision
from kseg.layers import BatchNormalization, Conv2D, DepthwiseConv2D, SmallestSize, SqueezeExcitation

__all__ = [
    "OPTIONS", "SECOND", "VARIANTS", "build", "channels", "convert", "divisible", "efficientnet_pytorch", "last_blocks",
    "rules", "scaled", "timm_models", "timm_rules", "transformers",
]  # fmt: skip

OPTIONS = ("width", "first_blocks", "features", "padding", "epsilon", "mean", "std")
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

TENSORFLOW = {"padding": "same", "epsilon": 1e-3}
"""The options with which timm computes networks that were trained in TensorFlow; their names begin with `tf_`."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    name: f"https://download.pytorch.org/models/{name.removesuffix('_torchvision')}-{digits}.pth"
    for name, digits in zip(VARIANTS, ("b0353104", "047dcff4", "8738ca79"), strict=False)
}


# The weights of timm that "imagenet" stands for.
IMAGENET_TIMM = {
    **{
        f"efficientnet_b{number}_timm": f"efficientnet_b{number}.{tag}"
        for number, tag in enumerate(("ra_in1k", "ft_in1k", "ra_in1k", "ra2_in1k", "ra2_in1k", "sw_in12k_ft_in1k"))
    },
    **{f"efficientnet_b{number}_timm": f"tf_efficientnet_b{number}.ns_jft_in1k" for number in (6, 7)},
    "efficientnet_lite0_timm": "efficientnet_lite0.ra_in1k",
    **{f"efficientnet_lite{number}_timm": f"tf_efficientnet_lite{number}.in1k" for number in (1, 2, 3, 4)},
    **{
        f"mobilenet_v3_{size}_{form}_timm": f"tf_mobilenetv3_{size}_{tag}.in1k"
        for size in ("small", "large")
        for form, tag in (("075", "075"), ("minimal", "minimal_100"))
    },
}


def timm_models(name: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Returns the models of timm with the same tensors, with their options, and the ImageNet weights on its hub.

    Example:
        >>> timm_models("mobilenet_v3_large_torchvision")[0]
        {'mobilenetv3_large_100': {'epsilon': 1e-05}, 'tf_mobilenetv3_large_100': {'padding': 'same'}}
    """
    plain, form = name.rpartition("_")[::2]
    if form == "timm" and plain.startswith("efficientnet"):
        models = {plain: {}, f"tf_{plain}": TENSORFLOW}
    elif form == "timm":
        model = plain.replace("mobilenet_v3", "mobilenetv3").replace("minimal", "minimal_100")
        models = {f"tf_{model}": {}}
        models |= {} if "minimal" in model else {model: {"padding": "symmetric", "epsilon": 1e-5}}
    elif "v2" in name:
        models = {"mobilenetv2_100": {}, "mobilenetv2_050": {"width": 0.5}, "mobilenetv2_140": {"width": 1.4}}
    else:
        model = plain.replace("mobilenet_v3", "mobilenetv3") + "_100"
        models = {model: {"epsilon": 1e-5}, f"tf_{model}": {"padding": "same"}}
    return models, f"timm/{IMAGENET_TIMM[name]}" if name in IMAGENET_TIMM else ""


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    width: float = 1.0,
    first_blocks: bool = False,
    features: Sequence[int] | None = None,
    padding: str | None = None,
    epsilon: float | None = None,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a MobileNet or an EfficientNet as an encoder, with features at strides 2, 4, 8, 16 and 32.

    Where a stride becomes dilation, the convolution that loses the stride keeps the previous dilation rate, and those
    after it get the new one: every k-th position of the dilated features equals the strided ones. A `multi_grid` of
    ones for all convolutions of the dilated stages gives torchvision's form, which dilates the first one too.

    Args:
        name: A key of `VARIANTS`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's) or None.
        output_stride: 8, 16 or 32.
        multi_grid: Factors for the dilation rates of the last depthwise convolutions.
        width: Factor of all numbers of channels, of MobileNetV2 only. The ImageNet weights have 1.
        first_blocks: Whether the features before the last are the outputs of the first blocks at their strides, instead
            of the last ones, as in torchvision's models for segmentation.
        features: Numbers of the blocks, from 1, whose outputs are the five features; 0 is the first convolution, and
            the number behind those of all blocks is the last convolution. None takes the last one at each stride.
        padding: How strided convolutions are padded: `"symmetric"`, `"same"` (as TensorFlow) or `"static"` (as the
            package efficientnet-pytorch: always as `"same"` for the images for which the network was designed, so that
            some convolutions round odd sizes down). None takes that of the weights.
        epsilon: Epsilon of batch normalization. None takes that of the weights.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If `multi_grid` has too many factors, if there is no such padding or width, or if `features` are not
            one block at each stride.

    Reference:
        Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018,
        https://arxiv.org/abs/1801.04381; Howard et al.: Searching for MobileNetV3, 2019,
        https://arxiv.org/abs/1905.02244; Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural
        Networks, 2019, https://arxiv.org/abs/1905.11946
    """
    variant, static = scaled(name, width), padding == "static"
    padding, epsilon = padding or variant.padding, epsilon or variant.epsilon
    if padding not in ("symmetric", "same", *(("static",) if variant.side else ())):
        raise ValueError(f'{name}: padding must be "symmetric" or "same", or "static" for EfficientNets: {padding!r}')
    rates = _rates(variant.blocks, output_stride, multi_grid)
    side = variant.side  # of the features of an image for which the network was designed

    def convolution(x: keras.KerasTensor, filters: int, path: str, activation: str | None, **options: int) -> Any:
        strides, rate = options.get("strides", 1), options.get("rate", 1)
        kernel_size = options.get("kernel_size", 1)
        padded = strides > 1 and padding != "same"
        if padded:  # "same" would pad even sizes on the far side only
            far = kernel_size // 2
            near = far - 1 if static and side % 2 == 0 else far
            x = keras.layers.ZeroPadding2D(((near, far), (near, far)), name=f"{path}_pad")(x)
        spatial = {"strides": strides, "padding": "valid" if padded else "same", "use_bias": False}
        if path.endswith("depthwise"):
            layer = DepthwiseConv2D(kernel_size, **spatial, dilation_rate=rate, name=f"{path}_conv")
        else:
            layer = Conv2D(filters, kernel_size, **spatial, kernel_initializer="he_normal", name=f"{path}_conv")
        x = BatchNormalization(momentum=variant.momentum, epsilon=epsilon, name=f"{path}_norm")(layer(x))
        return keras.layers.Activation(activation, name=f"{path}_{activation}")(x) if activation else x

    image = x = keras.Input(input_shape, name="image")
    if static:
        x = SmallestSize(32, dtype="float32", name="size")(x)
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(x)
    x = convolution(x, variant.stem, "stem", variant.activation, kernel_size=3, strides=2)
    side = -(-side // 2)
    outputs, first, stride = [x], [x], 2
    for index, (block, rate) in enumerate(zip(variant.blocks, rates, strict=True), start=1):
        stride *= block.strides
        entry, path = x, f"block{index}"
        if block.expanded != x.shape[-1]:
            x = convolution(x, block.expanded, f"{path}_expand", block.activation)
        strides = block.strides if stride <= output_stride else 1
        x = convolution(
            x,
            block.expanded,
            f"{path}_depthwise",
            block.activation,
            kernel_size=block.kernel_size,
            strides=strides,
            rate=rate,
        )
        side = -(-side // block.strides)
        if block.hidden:
            squeeze, excite = variant.excitation
            weight = SqueezeExcitation(
                hidden=block.hidden, hidden_activation=squeeze, activation=excite, name=f"{path}_excite"
            )
            x = keras.layers.Multiply(name=f"{path}_multiply")([x, weight(x)])
        x = convolution(x, block.filters, f"{path}_project", None)
        if block.strides == 1 and entry.shape[-1] == block.filters:
            x = keras.layers.Add(name=f"{path}_add")([entry, x])
        outputs.append(x)
        first += [x] if block.strides == 2 else []
    numbers = _numbers(name, features)
    if numbers[-1] > len(variant.blocks):
        outputs.append(convolution(x, variant.last, "last", variant.activation))
    maps = [outputs[number] for number in numbers]
    encoder = keras.Model(image, [*first[: len(maps) - 1], maps[-1]] if first_blocks else maps, name="encoder")
    if weights == "imagenet":
        last = numbers[-1] > len(variant.blocks)
        load_from_torchvision(encoder, ADDRESSES[name], functools.partial(convert, name=name, last=last))
    return encoder


def convert(state: Mapping[str, np.ndarray], name: str, *, last: bool | None = None) -> dict[str, np.ndarray]:
    """Converts the weights of torchvision, timm or efficientnet-pytorch, without the classifier.

    Args:
        state: `{name: array}` in PyTorch's layout.
        name: A key of `VARIANTS`.
        last: Whether the encoder has the last convolution; None for an encoder without chosen `features`.

    Returns:
        `{key: array}` for an encoder from `build`.

    Example:
        >>> state = {"features.0.1.bias": np.ones(32), "features.18.1.bias": np.ones(1280)}
        >>> list(convert(state, "mobilenet_v2_torchvision"))
        ['stem_norm/beta']
    """
    variant = VARIANTS[name]
    known = list(timm_rules(name))
    known += checkpoints.below(rules(name), "features.", "") if name in ADDRESSES else []
    known += efficientnet_pytorch(name) if variant.side else []
    arrays = checkpoints.rename(state, known)
    unused: tuple[str, ...] = ("classifier.", "_fc.", "_conv_head.", "_bn1.", "conv_head.", "bn2.")
    if not (variant.ends_with_last if last is None else last):
        unused = (*unused, "last_")
    return {key: array for key, array in arrays.items() if not key.startswith(unused)}


def _numbers(name: str, given: Sequence[int] | None) -> Sequence[int]:
    """Returns the numbers of the blocks whose outputs are features."""
    variant = VARIANTS[name]
    if given is None:
        return last_blocks(variant)
    strides = [2]
    for block in variant.blocks:
        strides.append(strides[-1] * block.strides)
    strides += [32] if variant.last else []
    if list(map(dict(enumerate(strides)).get, given)) != [2, 4, 8, 16, 32]:
        numbers = [[index for index, each in enumerate(strides) if each == stride] for stride in (2, 4, 8, 16, 32)]
        known = ", ".join(f"{each[0]} to {each[-1]}" for each in numbers)
        raise ValueError(f"{name}: features must be five blocks, one of each of {known}, got {list(given)}")
    return given


def _rates(blocks: Sequence[Block], output_stride: int, multi_grid: Sequence[int]) -> Iterator[int]:
    """The dilation rates of the depthwise convolutions, as in `kseg.encoders.resnet`."""
    full, stride = [], 2
    for block in blocks:
        stride *= block.strides
        full.append(max(1, stride // output_stride))
    return shifted_rates(full, multi_grid)
