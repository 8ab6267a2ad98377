"""DeepLabV3 on mobile encoders, as transformers writes it in folders: MobileNetV2 and MobileViT."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg import checkpoints, encoders

_HEAD = "segmentation_head."
_PROJECT = "aspp/project/conv/kernel"

_PLAIN = {"filters": 256, "multi_grid": None, "extra_conv": False, "auxiliary": False, "align_corners": False}
"""Options of `deeplabv3` that transformers lacks, with the values that its networks have."""


def _checked(arguments: Mapping[str, Any], name: str, **needed: Any) -> dict[str, Any]:
    """Checks the options of the builder, and returns those of the encoder that have values."""
    for option, value in {**_PLAIN, "encoder_depth": 5, **needed}.items():
        if (found := arguments.get(option, value)) != value:
            raise ValueError(f"DeepLabV3 with {name} of transformers has {option}={value!r}, not {found!r}")
    encoder = arguments["encoder"]
    return dict(encoder) if isinstance(encoder, Mapping) else {"name": encoder}


def _constants(options: Mapping[str, Any], channels: int) -> tuple[list[float], list[float]]:
    """Returns the mean and the standard deviation of each channel, from 0 to 255."""
    known = encoders.channels.IMAGENET
    normalization = encoders.channels.Normalization(
        tuple(options.get("mean", known.mean)), tuple(options.get("std", known.std))
    )
    mean, std = normalization.fitted(channels)
    return mean.tolist(), std.tolist()


def _mobilenet_arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    for field, allowed in (("depth_divisible_by", 8), ("min_depth", 8), ("expand_ratio", 6), ("hidden_act", "relu6")):
        config.only(field, allowed)
    config.only("first_layer_is_expansion", True)
    config.only("output_stride", 32, 16, 8)
    config.only("tf_padding", True, False)
    width = config.number("depth_multiplier", 1.0, whole=False)
    channels = encoders.mobilenet.scaled(encoders.mobilenet.SECOND, width).blocks if width else ()
    rounded = [encoders.mobilenet.divisible(round(each * width)) for each in (16, 24, 32, 64, 96, 160, 320)]
    if list(dict.fromkeys(block.filters for block in channels)) != list(dict.fromkeys(rounded)):
        raise ValueError(f"{config.name}: kseg cannot build depth_multiplier = {width}")
    given = {
        "width": width,
        "padding": "same" if config.get("tf_padding", True) else "symmetric",
        "epsilon": config.number("layer_norm_eps", 1e-3, whole=False),
        **({} if checkpoints.is_imagenet(mean, std) else {"mean": mean, "std": std}),
    }
    plain = {"width": 1, "padding": "symmetric", "epsilon": 1e-5}
    options = {key: value for key, value in given.items() if plain.get(key) != value}
    return {
        "encoder": {"name": encoders.mobilenet.SECOND, **options} if options else encoders.mobilenet.SECOND,
        "output_stride": config.get("output_stride", 32),
        "rates": [],
        "dropout": config.number("classifier_dropout_prob", 0.8, whole=False),
    }


def _mobilenet_config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    options = _checked(arguments, "MobileNetV2")
    if arguments["rates"] is None or len(arguments["rates"]):
        raise ValueError(f"DeepLabV3 with MobileNetV2 of transformers has rates=(), not {arguments['rates']!r}")
    if others := {"first_blocks", "features"} & options.keys():
        raise ValueError(f"MobileNetV2 of transformers lacks {' and '.join(sorted(others))}")
    fields = {
        "model_type": "mobilenet_v2",
        "depth_multiplier": options.get("width", 1.0),
        "depth_divisible_by": 8,
        "min_depth": 8,
        "expand_ratio": 6.0,
        "output_stride": arguments["output_stride"],
        "first_layer_is_expansion": True,
        "finegrained_output": True,
        "hidden_act": "relu6",
        "tf_padding": options.get("padding") == "same",
        "classifier_dropout_prob": arguments["dropout"],
        "layer_norm_eps": options.get("epsilon") or 1e-5,
        "semantic_loss_ignore_index": 255,
    }
    return fields, *_constants(options, arguments["input_shape"][-1])


def _swapped(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Exchanges the halves of the channels that the pyramid projects: there, the mean of the image comes first."""
    if _PROJECT in arrays:
        first, second = np.split(arrays[_PROJECT], 2, axis=2)
        arrays[_PROJECT] = np.concatenate([second, first], axis=2)
    return arrays


def _layers(module: str, path: str) -> list[tuple[str, str]]:
    return [(rf"{module}\.convolution", f"{path}/conv"), (rf"{module}\.normalization", f"{path}/norm")]


_MOBILENET_RULES: checkpoints.Rules = [
    *checkpoints.below(encoders.mobilenet.transformers(encoders.mobilenet.SECOND), "mobilenet_v2.", "encoder/"),
    *checkpoints.below(
        [*_layers("conv_aspp", "point"), *_layers("conv_pool", "image"), *_layers("conv_projection", "project")],
        _HEAD,
        "aspp/",
    ),
    *checkpoints.below([(r"classifier\.convolution", "head/conv")], _HEAD, ""),
]

checkpoints.ARCHITECTURES["MobileNetV2ForSemanticSegmentation"] = checkpoints.Architecture(
    "deeplabv3",
    _mobilenet_arguments,
    _mobilenet_config,
    _MOBILENET_RULES,
    unused=r"mobilenet_v2\.conv_1x1\..*",
    encoders=(encoders.mobilenet.SECOND,),
    first="encoder/stem_conv/kernel",
    meant="MobileNetV2ImageProcessor",
    reordered=_swapped,
)


_FIELDS = {
    "heads": ("num_attention_heads", 4),
    "patch_side": ("patch_size", 2),
    "expansion": ("expand_ratio", 4.0),
    "mlp_expansion": ("mlp_ratio", 2.0),
    "dropout": ("hidden_dropout_prob", 0.1),
}
"""Options of the encoder, and the fields of `config.json` that set them, with transformers' defaults."""


def _mobilevit_arguments(config: checkpoints.Config, mean: list[float], std: list[float]) -> dict[str, Any]:
    needed = {"hidden_act": "silu", "conv_kernel_size": 3, "layer_norm_eps": 1e-5, "qkv_bias": True}
    for field, allowed in needed.items():
        config.only(field, allowed)
    config.only("output_stride", 32, 16, 8)
    if config.number("attention_probs_dropout_prob", 0.0, whole=False):
        found = config["attention_probs_dropout_prob"]
        warnings.warn(
            f"{config.name}: training here does not apply attention_probs_dropout_prob = {found}", stacklevel=2
        )
    *filters, _ = config.numbers("neck_hidden_sizes", (16, 32, 64, 96, 128, 160, 640))
    widths = config.numbers("hidden_sizes", (144, 192, 240))
    options: dict[str, Any] = {"filters": filters, "attention_filters": widths}
    for option, (field, default) in _FIELDS.items():
        options[option] = config.number(field, default, whole=isinstance(default, int))
    if not options["heads"] or any(width % options["heads"] for width in widths):
        raise ValueError(f"{config.name}: hidden_sizes must be multiples of num_attention_heads")
    stride = config.get("output_stride", 32)
    if stride < 32 and len(set(filters[{16: 4, 8: 3}[stride] :])) < {16: 2, 8: 3}[stride]:
        raise ValueError(f"{config.name}: with output_stride = {stride}, neck_hidden_sizes must differ at the end")
    if not np.allclose([mean, std], [[0.0], [255.0]], rtol=1e-9, atol=0):
        options |= {"mean": mean, "std": std}
    kept = [1 - config.number(field, 0.1, whole=False) for field in ("aspp_dropout_prob", "classifier_dropout_prob")]
    return {
        "encoder": encoders.mobilevit.shortest(options),
        "output_stride": stride,
        "rates": config.numbers("atrous_rates", (6, 12, 18)),
        "filters": config.number("aspp_out_channels", 256),
        "dropout": round(1 - kept[0] * kept[1], 9),  # of both, which follow each other
    }


def _mobilevit_config(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[float], list[float]]:
    filters, stride = arguments["filters"], arguments["output_stride"]
    given = _checked(arguments, "MobileViT", filters=filters)
    rates = arguments["rates"]
    rates = [rate * 16 // stride for rate in (6, 12, 18)] if rates is None else list(rates)
    if len(rates) != 3:
        raise ValueError(f"DeepLabV3 with MobileViT of transformers has three rates, not {rates}")
    options = {**encoders.mobilevit.options(given["name"]), **given}
    fields = {
        "model_type": "mobilevit",
        "neck_hidden_sizes": [*options["filters"], 4 * options["filters"][-1]],
        "hidden_sizes": list(options["attention_filters"]),
        **{field: type(default)(options[option]) for option, (field, default) in _FIELDS.items()},
        "hidden_act": "silu",
        "conv_kernel_size": 3,
        "output_stride": stride,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-5,
        "qkv_bias": True,
        "aspp_out_channels": filters,
        "atrous_rates": rates,
        "aspp_dropout_prob": arguments["dropout"],
        "classifier_dropout_prob": 0.0,
        "semantic_loss_ignore_index": 255,
    }
    return fields, *_constants(options, arguments["input_shape"][-1])


_MOBILEVIT_RULES: checkpoints.Rules = [
    *checkpoints.below(encoders.mobilevit.TRANSFORMERS, "mobilevit.", "encoder/"),
    *checkpoints.below(
        [
            *_layers(r"convs\.0", "point"),
            *(rule for branch in (1, 2, 3) for rule in _layers(rf"convs\.{branch}", f"branch_{branch}")),
            *_layers(r"convs\.4\.conv_1x1", "image"),
            *_layers("project", "project"),
        ],
        f"{_HEAD}aspp.",
        "aspp/",
    ),
    *checkpoints.below([(r"classifier\.convolution", "head/conv")], _HEAD, ""),
]

checkpoints.ARCHITECTURES["MobileViTForSemanticSegmentation"] = checkpoints.Architecture(
    "deeplabv3",
    _mobilevit_arguments,
    _mobilevit_config,
    _MOBILEVIT_RULES,
    encoders=tuple(encoders.mobilevit.VARIANTS),
    first="encoder/stem_conv/kernel",
    meant="MobileViTImageProcessor",
)
