"""Checkpoints of segmentation-models-pytorch: Unet, DeepLabV3 and DeepLabV3Plus on ResNets.

Two habits of that library are arguments of the builders here: it enlarges with corners aligned, and it dilates the
first block of a dilated stage as the others, where torchvision's keeps the former rate.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kseg.checkpoints import Rules, below, read, rename
from kseg.encoders import resnet
from kseg.zoo.torchvision import aspp

# The 3x3 convolutions of the third and of the fourth stage.
CONVOLUTIONS = {
    "resnet18": (4, 4),
    "resnet34": (12, 6),
    "resnet50": (6, 3),
    "resnet101": (23, 3),
    "resnet152": (36, 3),
}

_ACTIVATIONS = {None: None, "identity": None, "sigmoid": "sigmoid", "softmax": "softmax", "softmax2d": "softmax"}

_CONFIG = {
    "encoder_name": "resnet34",
    "encoder_depth": 5,
    "encoder_weights": None,
    "in_channels": 3,
    "classes": 1,
    "activation": None,
    "aux_params": None,
}
_UNET = {
    "decoder_use_norm": "batchnorm",
    "decoder_channels": (256, 128, 64, 32, 16),
    "decoder_attention_type": None,
    "decoder_interpolation": "nearest",
}
_DEEPLAB = {"decoder_channels": 256, "decoder_atrous_rates": (12, 24, 36), "decoder_aspp_dropout": 0.5}
_DEEPLABV3 = {"encoder_output_stride": 8, "decoder_aspp_separable": False, "upsampling": None}
_DEEPLABV3PLUS = {"encoder_output_stride": 16, "decoder_aspp_separable": True, "upsampling": 4}


def convert(
    state: Mapping[str, np.ndarray], model: str, **config: Any
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Turns a state dict into a kseg builder, its arguments, and the model's arrays.

    Args:
        state: `{name: array}` in PyTorch's layout.
        model: `"Unet"`, `"DeepLabV3"` or `"DeepLabV3Plus"`.
        **config: The arguments that the library's class was called with, e.g. `encoder_name="resnet34", classes=3`.

    Returns:
        The name of a builder in `kseg.zoo`, its keyword arguments with `num_classes`, and `{key: array}`.

    Raises:
        ValueError: A model, an encoder or an option that has no counterpart here.

    Example:
        >>> state = {"segmentation_head.0.bias": np.zeros(3)}
        >>> builder, arguments, arrays = convert(state, "Unet", encoder_name="resnet18", classes=3)
        >>> builder, arguments["encoder"], list(arrays)
        ('unet', 'resnet18', ['head/conv/bias'])
    """
    if model not in _MODELS:
        raise ValueError(f"of segmentation-models-pytorch only {', '.join(_MODELS)} are read, not {model!r}")
    defaults, translate = _MODELS[model]
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    if (batch_norm := config.pop("decoder_use_batchnorm", None)) is not None:  # its name until 0.4
        config.setdefault("decoder_use_norm", "batchnorm" if batch_norm else False)
    known = {**_CONFIG, **defaults}
    for key, value in config.items():
        if key not in known and value is not None:
            raise ValueError(f"{model}: {key}={value!r} has no counterpart in kseg")
    config = {**known, **config}
    _require(model, config, "encoder_depth", 5)
    _require(model, config, "aux_params", None)
    _require(model, config, "encoder_name", *CONVOLUTIONS)
    _require(model, config, "activation", *_ACTIVATIONS)
    builder, arguments, rules = translate(model, config)
    arguments = {
        "num_classes": config["classes"],
        "encoder": config["encoder_name"],
        **arguments,
        "activation": _ACTIVATIONS[config["activation"]],
        "input_shape": [None, None, config["in_channels"]],
    }
    rules = [*below(resnet.RULES, "encoder.", "encoder/"), *rules, (r"segmentation_head\.0", "head/conv")]
    return builder, arguments, rename(state, rules)


def read_folder(folder: str | os.PathLike) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Reads a hub folder: what `save_pretrained` wrote or a hub's repository holds; `kseg.zoo.load(folder)` calls it.

    Args:
        folder: Holds `config.json` and `model.safetensors`.

    Returns:
        As `convert`.

    Raises:
        FileNotFoundError: One of the files is missing.
        ValueError: One of them is damaged, or the model has no counterpart here.
    """
    path = Path(folder, "config.json")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no hub folder: it has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(config, dict) or not isinstance(model := config.get("_model_class"), str):
        raise ValueError(f"{path} names no model class: it was not written by segmentation-models-pytorch")
    return convert(read(Path(folder, "model.safetensors")), model, **config)


def multi_grid(encoder: str, output_stride: int) -> list[int]:
    """Factors that dilate the first convolution of each dilated stage as the others.

    Args:
        encoder: A key of `CONVOLUTIONS`.
        output_stride: 8 or 16.

    Returns:
        One factor for each 3x3 convolution of the dilated stages.

    Example:
        >>> multi_grid("resnet50", 8)
        [1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    stages = CONVOLUTIONS[encoder] if output_stride == 8 else CONVOLUTIONS[encoder][1:]
    return [1] * sum(stages)


def _require(model: str, config: Mapping[str, Any], key: str, *allowed: Any) -> None:
    if config[key] not in allowed:
        words = " or ".join(map(repr, allowed))
        raise ValueError(f"{model}: {key}={config[key]!r} has no counterpart in kseg, only {words}")


_Translated = tuple[str, dict[str, Any], Rules]


def _unet(model: str, config: Mapping[str, Any]) -> _Translated:
    _require(model, config, "decoder_attention_type", None)
    _require(model, config, "decoder_interpolation", "nearest")
    _require(model, config, "decoder_use_norm", "batchnorm", True, {"type": "batchnorm"})
    rules = []
    for block in range(5):
        for conv in (1, 2):
            path = f"decoder_{block + 1}/conv{conv}"
            rules.append((rf"decoder\.blocks\.{block}\.conv{conv}\.0", f"{path}/conv"))
            rules.append((rf"decoder\.blocks\.{block}\.conv{conv}\.1", f"{path}/norm"))
    return "unet", {"filters": list(config["decoder_channels"]), "doubling": True}, rules


def _deeplabv3(model: str, config: Mapping[str, Any]) -> _Translated:
    _require(model, config, "decoder_aspp_separable", False)
    _require(model, config, "upsampling", None, config["encoder_output_stride"])
    pyramid = aspp(len(config["decoder_atrous_rates"]))
    rules = [
        *below(pyramid, "decoder.aspp.", "aspp/"),
        *below(pyramid, "decoder.0.", "aspp/"),  # its names until 0.3
        (r"decoder\.(conv|1)", "refine/conv"),
        (r"decoder\.(bn|2)", "refine/norm"),
    ]
    return "deeplabv3", _atrous(config), rules


def _deeplabv3plus(model: str, config: Mapping[str, Any]) -> _Translated:
    _require(model, config, "decoder_aspp_separable", True)
    _require(model, config, "upsampling", 4)
    rules = [
        *below(aspp(len(config["decoder_atrous_rates"]), separable=True), "decoder.aspp.0.", "aspp/"),
        (r"decoder\.aspp\.1\.0", "refine/depthwise"),
        (r"decoder\.aspp\.1\.1", "refine/conv"),
        (r"decoder\.aspp\.2", "refine/norm"),
        (r"decoder\.block1\.0", "low_level/conv"),
        (r"decoder\.block1\.1", "low_level/norm"),
        (r"decoder\.block2\.0\.0", "decoder_1/depthwise"),
        (r"decoder\.block2\.0\.1", "decoder_1/conv"),
        (r"decoder\.block2\.1", "decoder_1/norm"),
    ]
    return "deeplabv3plus", {**_atrous(config), "separable": True, "decoder_convs": 1}, rules


def _atrous(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "output_stride": config["encoder_output_stride"],
        "rates": list(config["decoder_atrous_rates"]),
        "multi_grid": multi_grid(config["encoder_name"], config["encoder_output_stride"]),
        "filters": config["decoder_channels"],
        "dropout": config["decoder_aspp_dropout"],
        "extra_conv": True,
        "align_corners": True,
    }


_MODELS: dict[str, tuple[dict[str, Any], Callable[[str, Mapping[str, Any]], _Translated]]] = {
    "Unet": (_UNET, _unet),
    "DeepLabV3": ({**_DEEPLAB, **_DEEPLABV3}, _deeplabv3),
    "DeepLabV3Plus": ({**_DEEPLAB, **_DEEPLABV3PLUS}, _deeplabv3plus),
}
