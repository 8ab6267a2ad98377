"""Checkpoints of segmentation-models-pytorch: its models beside the builders, its options, and its names of tensors.

What belongs to one of its classes lies beside the builder, in a call of `register`. `kseg.checkpoints.export_smp`
writes its folders.
"""

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kseg import encoders, pretrained
from kseg.checkpoints import LIMIT, WEIGHTS, Config, Normalize, read, read_normalize, rename
from kseg.zoo._options import unknown_option
from kseg.zoo._smp_encoders import ENCODERS, NOTHING, canonical
from kseg.zoo._smp_table import MODELS, Model, arguments_of, rules_of, unused_of
from kseg.zoo.table import build

__all__ = ["ENCODERS", "MODELS", "convert", "load", "options_of", "read_folder"]

_OLD = {
    "decoder_use_batchnorm": "decoder_use_norm",
    "psp_use_batchnorm": "decoder_use_norm",
    "upscale_mode": "decoder_interpolation",
}
"""Names of options in earlier versions, which the library prefers where a folder has both."""


def convert(
    state: Mapping[str, np.ndarray], model: str, **options: Any
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Converts a state dict to a kseg builder, its arguments, and the arrays of the model.

    Args:
        state: `{name: array}` in PyTorch's layout.
        model: Name of the class, a key of `MODELS`, e.g. `"Unet"`.
        **options: Arguments of the class, e.g. `encoder_name="resnet34", classes=3`.

    Returns:
        The name of a builder in `kseg.zoo`, its keyword arguments with `num_classes`, and `{key: array}`.

    Raises:
        ValueError: If the model, the encoder or an option has no counterpart in kseg.

    Example:
        >>> state = {"segmentation_head.0.bias": np.zeros(3)}
        >>> builder, arguments, arrays = convert(state, "Unet", encoder_name="resnet18", classes=3)
        >>> builder, arguments["encoder"], list(arrays)
        ('unet', 'resnet18', ['head/conv/bias'])
    """
    known = _known(model)
    given = {key: value for key, value in options.items() if not key.startswith("_") and key not in _OLD}
    given |= {_OLD[key]: options[key] for key in _OLD.keys() & options.keys() if options[key] is not None}
    for key, value in given.items():
        if key not in known.options and value is not None:
            raise ValueError(
                f"{model}: {key}={value!r} has no counterpart in kseg, which knows {', '.join(known.options)}"
            )
    options = {key: given.get(key, option.default) for key, option in known.options.items()}
    if "decoder_use_norm" in options:
        options["decoder_use_norm"] = _norm(options["decoder_use_norm"])
    options["encoder_name"] = canonical(options["encoder_name"])
    arguments = arguments_of(model, options)
    encoder = ENCODERS[options["encoder_name"]]
    left_out = encoder.left_out.get(options["encoder_depth"], NOTHING)
    unused = unused_of(model, options)
    arrays = {
        key: array
        for key, array in rename(encoder.apart(state), rules_of(model, options)).items()
        if key not in unused and not re.match(f"encoder/({left_out})", key)
    }
    return known.builder, arguments, arrays


def _known(model: str) -> Model:
    if model not in MODELS:
        raise ValueError(f"kseg reads {', '.join(MODELS)} of segmentation-models-pytorch, not {model!r}")
    return MODELS[model]


def _norm(value: Any) -> Any:
    """The kind of normalization, which may be a boolean or a dictionary."""
    if isinstance(value, dict) and value.keys() == {"type"}:
        value = value["type"]
    return {True: "batchnorm", False: "identity"}[value] if isinstance(value, bool) else value


def load(
    path: str | os.PathLike, model: str, *, part: str = "", without: Sequence[str] = (), **options: Any
) -> pretrained.SegmentationModel:
    """Builds the kseg model of a state dict that PyTorch saved, and fills it.

    `kseg.pretrained.save(model, "model.safetensors", classes=[...])` then writes a file for `kseg predict`.

    Args:
        path: A file by `torch.save`, or safetensors: a state dict, alone or in a checkpoint, of whatever wrapper
            (`module.`, `model.`, `state_dict.`, `_orig_mod.`); see `kseg.checkpoints.read`.
        model: Name of the class, a key of `MODELS`, e.g. `"Unet"`.
        part: The key of the state dict, e.g. `"state_dict_ema"`, if the file holds the model several times.
        without: Keys of other copies, e.g. `["ema"]`, if they lie beside the tensors of the model.
        **options: Arguments of the class, e.g. `encoder_name="resnet34", classes=3`.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the class has no such option.
        ValueError: If the file or an option cannot be read, or the tensors do not fit.
    """
    for option in options.keys() - _known(model).options.keys() - _OLD.keys():
        raise TypeError(unknown_option(model, option, _known(model).options))
    builder, arguments, arrays = convert(read(path, part, without=without), model, **options)
    built = build(builder, arguments.pop("num_classes"), **arguments, encoder_weights=None)
    pretrained.load(built, arrays)
    return built


def read_folder(folder: str | os.PathLike, config: Config) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a hub folder that `save_pretrained` wrote.

    Args:
        folder: The folder, with `model.safetensors` and perhaps `albumentations_config_eval.json`, which has the
            normalization of images; without, it is that of the encoder's ImageNet weights.
        config: The fields of its `config.json`.

    Returns:
        The description of the model, with `builder`, `arguments` and `pixels`, and `{key: array}`.

    Raises:
        FileNotFoundError: If the folder has no weights.
        ValueError: If a file is damaged, or the configuration has no counterpart in kseg.
    """
    options = options_of(config)
    builder, arguments, arrays = convert(read(Path(folder, WEIGHTS[0])), **options)
    channels = arguments["input_shape"][-1]
    pixels: dict[str, Any] = {}
    if found := read_normalize(folder, channels):
        arguments["encoder"] = _normalizing(arguments["encoder"], found, channels)
        pixels = {} if found.limit == LIMIT else {"range": [0.0, found.limit]}
    return {"builder": builder, "arguments": arguments, "pixels": pixels}, arrays


def _normalizing(encoder: str | dict[str, Any], found: Normalize, channels: int) -> str | dict[str, Any]:
    """Sets how an encoder normalizes images, if it does not do so anyway."""
    given = encoder if isinstance(encoder, dict) else {"name": encoder}
    parameters = inspect.signature(encoders.ENCODERS[given["name"]].build).parameters
    mean, std = (tuple(given.get(key, parameters[key].default)) for key in ("mean", "std"))
    wanted = LIMIT * np.array([found.mean, found.std])
    if np.allclose(encoders.channels.Normalization(mean, std).fitted(channels), wanted, rtol=1e-6):
        return encoder
    return {**given, "mean": wanted[0].tolist(), "std": wanted[1].tolist()}


def options_of(config: Config) -> dict[str, Any]:
    """Returns the class that a configuration names, as `model`, and its options: the other arguments of `convert`.

    Raises:
        ValueError: If the configuration was not written by segmentation-models-pytorch.
    """
    if not isinstance(model := config.get("_model_class"), str):
        raise ValueError(f"{config.name} names no model class: segmentation-models-pytorch did not write it")
    return {**{key: value for key, value in config.items() if not key.startswith("_")}, "model": model}
