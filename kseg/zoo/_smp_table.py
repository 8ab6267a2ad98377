"""The table of the models of segmentation-models-pytorch, and the rules for modules that several of them have.

Arguments of the builders reproduce properties of that library: it upsamples with aligned corners, and it dilates the
first block of a dilated stage like the others, while torchvision keeps the previous rate there.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kseg import encoders
from kseg.checkpoints import Rules, below
from kseg.zoo._smp_encoders import ENCODERS

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


MODELS: dict[str, Model] = {}
"""What `register` was called with, by the name of the library's class."""

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
    "img_size": Option(None, None),
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
    """The `multi_grid` with which the library's dilation is computed; in most encoders, the first block of a dilated
    stage is dilated like the others.

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
    if stride < known.least or not encoders.ENCODERS[known.variant].reaches(stride):
        raise ValueError(f"kseg has no {name} with encoder_output_stride={stride}")
    factors = known.dilated(stride)
    return ([1] * factors if isinstance(factors, int) else list(factors)) or None


def at_center(options: Options) -> bool:
    """Whether two convolutions precede the decoder of a U-Net."""
    return str(options["encoder_name"]).startswith("vgg")


def rules_of(model: str, options: Options) -> Rules:
    """All rules for a model: of its encoder, its decoder and its head."""
    encoder = below(ENCODERS[options["encoder_name"]].rules, "encoder.", "encoder/")
    return [*encoder, *MODELS[model].rules(options), *named("segmentation_head.0", "head/conv")]


def unused_of(model: str, options: Options) -> Shapes:
    """Names and shapes of the tensors that the library stores but does not use."""
    encoder = {f"encoder.{name}": shape for name, shape in ENCODERS[options["encoder_name"]].unused.items()}
    return {**encoder, **MODELS[model].unused(options)}


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
    if size := options["img_size"]:
        name, step = options["encoder_name"], ENCODERS[options["encoder_name"]].sized
        if not step or any(side % step for side in (size if isinstance(size, list | tuple) else [size])):
            cure = f", only multiples of {step}" if step else ""
            raise ValueError(f"{model}: img_size={size!r} on {name} has no counterpart in kseg{cure}")
    if known.upsampling and options["upsampling"] not in (None, fits := known.upsampling(options)):
        raise ValueError(f"{model}: upsampling={options['upsampling']!r} has no counterpart in kseg, only {fits}")
    return {**arguments, **known.arguments(options), "input_shape": [None, None, options["in_channels"]]}


def _words(values: Iterable[Any]) -> str:
    words = [repr(value) for value in values]
    return " or ".join(words) if len(words) < 10 else f"those of {', '.join(words[:5])} ... in kseg.zoo.smp.ENCODERS"
