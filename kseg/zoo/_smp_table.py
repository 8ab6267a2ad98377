"""The table of the models of segmentation-models-pytorch, and the rules for modules that several of them have.

Arguments of the builders reproduce properties of that library: it upsamples with aligned corners, and it dilates the
first block of a dilated stage like the others, while torchvision keeps the previous rate there.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from kseg import encoders
from kseg.checkpoints import Rules, below
from kseg.encoders import densenet, mit, resnet, vgg, vit
from kseg.encoders.channels import IMAGENET, TO_ONE

Options: TypeAlias = Mapping[str, Any]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Option:
    """An option of a class of segmentation-models-pytorch.

    Attributes:
        argument: The argument of the builder that it becomes, or None.
        default: Its default value in that library.
        values: The argument's value for each value that kseg has too; None if all values are the same.
    """

    argument: str | None
    default: Any
    values: Mapping[Any, Any] | None = None


@dataclass(frozen=True)
class Model:
    """A class of segmentation-models-pytorch, and the builder that computes the same; see `register`."""

    builder: str
    options: Mapping[str, Option]
    arguments: Callable[[Options], dict[str, Any]]
    rules: Callable[[Options], Rules]
    upsampling: Callable[[Options], int] | None
    unused: Callable[[Options], Shapes]


@dataclass(frozen=True)
class Encoder:
    """An encoder of segmentation-models-pytorch that is also in `kseg.encoders.ENCODERS`.

    Attributes:
        name: Its name there, or a dictionary with its options.
        rules: From its modules to the layers of the encoder.
        left_out: Patterns for the layers beyond the depths 3 and 4, whose tensors the library stores but does not use.
        dilated: The number of spatial convolutions from the first stage that is dilated on; None if the library cannot
            dilate it.
        empty: Whether its feature at stride 2 has no channels.
        apart: Splits tensors of the library that are several here.
        joined: Joins them again.
        tokens: Whether it is a Vision Transformer, which only DPT has.
    """

    name: str | Mapping[str, Any]
    rules: Rules
    left_out: Mapping[int, str]
    dilated: Callable[[int], int] | None = None
    empty: bool = False
    apart: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    joined: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    tokens: bool = False

    @property
    def variant(self) -> str:
        """Its name in `kseg.encoders.ENCODERS`, without options."""
        return self.name if isinstance(self.name, str) else self.name["name"]


def _resnet(name: str) -> Encoder:
    def dilated(stride: int) -> int:
        variant = resnet.VARIANTS[name]
        return sum(variant.depths[2 if stride == 8 else 3 :]) * variant.spatial

    return Encoder(name, resnet.RULES, {3: "layer[34]_", 4: "layer4_"}, dilated)


def _mit(name: str) -> Encoder:
    def dilated(stride: int) -> int:
        _, depths = mit.VARIANTS[name]
        return sum(1 + depth for depth in depths[2 if stride == 8 else 3 :])

    return Encoder(name, mit.ORIGINAL, {3: "stage[34]_", 4: "stage4_"}, dilated, True, mit.apart, mit.joined)


def _vgg(name: str) -> Encoder:
    rules = below(vgg.rules(name), "features.", "")
    return Encoder(name, rules, {3: "block5_", 4: "(?!)"})  # nothing


def _densenet(name: str) -> Encoder:
    left_out = {3: "block[34]_|transition2_conv|transition3_|norm5", 4: "block4_|transition3_conv|norm5"}
    return Encoder(name, below(densenet.RULES, "features.", ""), left_out)


IMAGENET_TAGS = ("dino", "mae")
"""Weights of timm's Vision Transformers that expect ImageNet's mean and standard deviation, unlike Google's."""


def untagged(encoder: str) -> str:
    """Removes the name of weights from that of an encoder of timm, except where their normalization differs.

    Example:
        >>> untagged("tu-vit_base_patch16_224.augreg_in21k"), untagged("tu-vit_base_patch16_224.dino")
        ('tu-vit_base_patch16_224', 'tu-vit_base_patch16_224.dino')
    """
    name, _, tag = encoder.partition(".")
    return encoder if tag in IMAGENET_TAGS else name


def _vit(size: str, side: int, tag: str = "") -> dict[str, Encoder]:
    constants = IMAGENET if tag else TO_ONE
    options = {"grid": side // 16, "mean": list(constants.mean), "std": list(constants.std)}
    encoder = Encoder(
        vit.shortest({**vit.options(f"vit_{size}"), **options}),
        below([rule for rule in vit.TIMM if rule[1] != "norm"], "model.", ""),
        left_out={},
        apart=vit.apart,
        joined=vit.joined,
        tokens=True,
    )
    return {f"tu-vit_{size}_patch16_{side}{tag and f'.{tag}'}": encoder}


MODELS: dict[str, Model] = {}
"""What `register` was called with, by the name of the library's class."""

ENCODERS: dict[str, Encoder] = {
    **{name: _resnet(name) for name in resnet.VARIANTS if re.fullmatch(r"resnet\d+|resnext\d+_32x\d+d", name)},
    **{name: _mit(name) for name in mit.VARIANTS},
    **{name.removesuffix("_torchvision"): _vgg(name) for name in vgg.VARIANTS},
    **{name.removesuffix("_torchvision"): _densenet(name) for name in densenet.VARIANTS},
    **{name: each for size in ("tiny", "small", "base", "large") for name, each in _vit(size, 224).items()},
    **{name: each for size in ("tiny", "small", "base", "large") for name, each in _vit(size, 384).items()},
    **_vit("small", 224, "dino"),
    **_vit("base", 224, "dino"),
    **_vit("base", 224, "mae"),
    **_vit("large", 224, "mae"),
}
"""The encoders by their names in that library."""

NORM = Option("batch_norm", "batchnorm", {"batchnorm": True, "identity": False})
ATTENTION = Option("attention", None, {None: None, "scse": "scse"})
INTERPOLATION = Option("interpolation", "nearest", {"nearest": "nearest", "bilinear": "bilinear"})

_ACTIVATIONS = {None: None, "identity": None, "sigmoid": "sigmoid", "softmax": "softmax", "softmax2d": "softmax"}

_SHARED = {
    "encoder_weights": Option(None, None),
    "encoder_depth": Option("encoder_depth", 5, {3: 3, 4: 4, 5: 5}),
    "in_channels": Option(None, 3),
    "classes": Option("num_classes", 1),
    "activation": Option("activation", None, _ACTIVATIONS),
    "aux_params": Option(None, None, {None: None}),
}


def register(
    model: str,
    builder: str,
    options: Mapping[str, Option],
    *,
    rules: Callable[[Options], Rules],
    arguments: Callable[[Options], dict[str, Any]] = lambda options: {},
    upsampling: Callable[[Options], int] | None = None,
    unused: Callable[[Options], Shapes] = lambda options: {},
    empty: bool = True,
) -> None:
    """Registers a class of segmentation-models-pytorch. The functions get all options of the class by name.

    Args:
        model: Name of the class.
        builder: The builder that computes the same.
        options: Its options beside those that all classes share.
        rules: Returns the rules for the tensors outside the encoder and the head.
        arguments: Returns the other arguments of the builder.
        upsampling: Returns the option `upsampling` that gives logits of the image's size.
        unused: Returns names and shapes of tensors that it stores but does not use.
        empty: Whether it may have encoders whose feature at stride 2 has no channels.
    """
    fitting = {name: each for name, each in ENCODERS.items() if not each.tokens and (empty or not each.empty)}
    known = {name: encoder.name for name, encoder in fitting.items()}
    names = {"encoder_name": Option("encoder", "resnet34", known)}
    MODELS[model] = Model(builder, {**names, **_SHARED, **options}, arguments, rules, upsampling, unused)


def named(module: str, path: str) -> list[tuple[str, str]]:
    """The rule for one module."""
    return [(re.escape(module), path)]


def conv_norm(module: str, path: str, names: Sequence[str] = ("0", "1")) -> list[tuple[str, str]]:
    """The rules for a convolution with normalization: `kseg.layers.ConvNormAct`."""
    return [*named(f"{module}.{names[0]}", f"{path}/conv"), *named(f"{module}.{names[1]}", f"{path}/norm")]


def excitation(module: str, path: str) -> list[tuple[str, str]]:
    """The rules for `kseg.layers.SqueezeExcitation`."""
    return [*named(f"{module}.1", f"{path}/squeeze"), *named(f"{module}.3", f"{path}/excite")]


def unet_block(module: str, path: str, attention: str | None = None, *, skip: bool = True) -> list[tuple[str, str]]:
    """The rules for `kseg.layers.UNetBlock`."""
    rules = [*conv_norm(f"{module}.conv1", f"{path}/conv1"), *conv_norm(f"{module}.conv2", f"{path}/conv2")]
    for name in ("attention1", "attention2") if attention else ():
        if skip or name == "attention2":
            rules += excitation(f"{module}.{name}.attention.cSE", f"{path}/{name}/channel")
            rules += named(f"{module}.{name}.attention.sSE.0", f"{path}/{name}/spatial")
    return rules


def unused_attention(module: str, options: Options) -> Shapes:
    """The first attention of the last block of a U-Net, which is only used behind skip features."""
    if not options["decoder_attention_type"]:
        return {}
    *_, channels, _ = options["decoder_channels"]
    hidden, name = channels // 16, f"{module}.attention1.attention"
    kernels = {"cSE.1": (hidden, channels), "cSE.3": (channels, hidden), "sSE.0": (1, channels)}
    return {
        **{f"{name}.{part}.weight": (*shape, 1, 1) for part, shape in kernels.items()},
        **{f"{name}.{part}.bias": shape[:1] for part, shape in kernels.items()},
    }


def dilation(options: Options) -> list[int] | None:
    """The `multi_grid` with which the first block of a dilated stage is dilated like the others.

    Raises:
        ValueError: If the library or kseg cannot dilate the encoder.
    """
    stride, name = options["encoder_output_stride"], options["encoder_name"]
    known = ENCODERS[name]
    if stride == 32:
        return None
    if known.dilated is None:
        raise ValueError(f"segmentation-models-pytorch has no {name} with encoder_output_stride={stride}")
    if stride >= 2 ** options["encoder_depth"]:
        return None
    if not encoders.ENCODERS[known.variant].reaches(stride):
        raise ValueError(f"kseg has no {name} with encoder_output_stride={stride}")
    return [1] * known.dilated(stride)


def at_center(options: Options) -> bool:
    """Whether two convolutions precede the decoder of a U-Net."""
    return str(options["encoder_name"]).startswith("vgg")


def rules_of(model: str, options: Options) -> Rules:
    """All rules for a model: of its encoder, its decoder and its head."""
    encoder = below(ENCODERS[options["encoder_name"]].rules, "encoder.", "encoder/")
    return [*encoder, *MODELS[model].rules(options), *named("segmentation_head.0", "head/conv")]


def arguments_of(model: str, options: Options) -> dict[str, Any]:
    """Translates options, all of them, to the arguments of the builder.

    Raises:
        ValueError: If an option has no counterpart in kseg.
    """
    known = MODELS[model]
    arguments: dict[str, Any] = {}
    for key, option in known.options.items():
        if option.values is not None and options[key] not in list(option.values):
            raise ValueError(
                f"{model}: {key}={options[key]!r} has no counterpart in kseg, only {_words(option.values)}"
            )
        if option.argument:
            value = options[key] if option.values is None else option.values[options[key]]
            arguments[option.argument] = list(value) if isinstance(value, tuple) else value
    if known.upsampling and options["upsampling"] not in (None, fits := known.upsampling(options)):
        raise ValueError(f"{model}: upsampling={options['upsampling']!r} has no counterpart in kseg, only {fits}")
    return {**arguments, **known.arguments(options), "input_shape": [None, None, options["in_channels"]]}


def _words(values: Iterable[Any]) -> str:
    words = [repr(value) for value in values]
    return " or ".join(words) if len(words) < 10 else f"those of {', '.join(words[:5])} ... in kseg.zoo.smp.ENCODERS"
