"""Checkpoints of segmentation-models-pytorch on ResNets. The rules for each model lie beside its builder.

Arguments of the builders reproduce two properties of that library: it upsamples with aligned corners, and it dilates
the first block of a dilated stage like the others, while torchvision keeps the previous rate there.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from kseg import pretrained
from kseg.checkpoints import Rules, below, read, rename
from kseg.encoders import resnet

Options: TypeAlias = Mapping[str, Any]
Translation: TypeAlias = Callable[[Options], tuple[dict[str, Any], Rules]]


@dataclass(frozen=True)
class _Model:
    builder: str
    defaults: Options
    only: Mapping[str, Collection[Any]]
    translate: Translation


MODELS: dict[str, _Model] = {}
"""What `reads` has registered, by the name of the library's class."""

_ACTIVATIONS = {None: None, "identity": None, "sigmoid": "sigmoid", "softmax": "softmax", "softmax2d": "softmax"}

_ONLY: Mapping[str, Collection[Any]] = {
    "encoder_depth": (5,),
    "activation": _ACTIVATIONS,
    "aux_params": (None,),
}
_DEFAULTS = {"encoder_name": "resnet34", "encoder_weights": None, "in_channels": 3, "classes": 1}


def reads(
    model: str, builder: str, *, only: Mapping[str, Collection[Any]], **defaults: Any
) -> Callable[[Translation], Translation]:
    """Registers a function that translates the options of a class of segmentation-models-pytorch.

    The function takes all options and returns the arguments of the builder, without those that all builders share, and
    the rules for the tensors outside the encoder and the head. `only` lists the supported values, the default first, of
    the options that have no counterpart in the builder; `defaults` are those of the other options of the class.
    """

    def register(translate: Translation) -> Translation:
        known = {**_ONLY, **only}
        first = {key: next(iter(values)) for key, values in known.items()}
        supported = {**known, "encoder_name": resnet.VARIANTS}
        MODELS[model] = _Model(builder, {**_DEFAULTS, **first, **defaults}, supported, translate)
        return translate

    return register


def convert(
    state: Mapping[str, np.ndarray], model: str, **options: Any
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Converts a state dict to a kseg builder, its arguments, and the arrays of the model.

    Args:
        state: `{name: array}` in PyTorch's layout.
        model: Name of the class: `"Unet"`, `"DeepLabV3"` or `"DeepLabV3Plus"`.
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
    if model not in MODELS:
        raise ValueError(f"kseg reads {', '.join(MODELS)} of segmentation-models-pytorch, not {model!r}")
    known = MODELS[model]
    options = {key: value for key, value in options.items() if not key.startswith("_")}
    if (batch_norm := options.pop("decoder_use_batchnorm", None)) is not None:  # its name until 0.4
        options.setdefault("decoder_use_norm", "batchnorm" if batch_norm else False)
    for key, value in options.items():
        if key not in known.defaults and value is not None:
            raise ValueError(f"{model}: {key}={value!r} has no counterpart in kseg")
    options = {**known.defaults, **options}
    for key, allowed in known.only.items():
        if options[key] not in list(allowed):
            words = " or ".join(map(repr, allowed))
            raise ValueError(f"{model}: {key}={options[key]!r} has no counterpart in kseg, only {words}")
    arguments, rules = known.translate(options)
    arguments = {
        "num_classes": options["classes"],
        "encoder": options["encoder_name"],
        **arguments,
        "activation": _ACTIVATIONS[options["activation"]],
        "input_shape": [None, None, options["in_channels"]],
    }
    rules = [*below(resnet.RULES, "encoder.", "encoder/"), *rules, (r"segmentation_head\.0", "head/conv")]
    return known.builder, arguments, rename(state, rules)


def load(
    path: str | os.PathLike, model: str, *, part: str = "", without: Sequence[str] = (), **options: Any
) -> pretrained.SegmentationModel:
    """Builds the kseg model of a state dict that PyTorch saved, and fills it.

    `kseg.pretrained.save(model, "model.safetensors", classes=[...])` then writes a file for `kseg predict`.

    Args:
        path: A file by `torch.save`, or safetensors: a state dict, alone or in a checkpoint, of whatever wrapper
            (`module.`, `model.`, `state_dict.`, `_orig_mod.`); see `kseg.checkpoints.read`.
        model: Name of the class: `"Unet"`, `"DeepLabV3"` or `"DeepLabV3Plus"`.
        part: The key of the state dict, e.g. `"state_dict_ema"`, if the file holds the model several times.
        without: Keys of other copies, e.g. `["ema"]`, if they lie beside the tensors of the model.
        **options: Arguments of the class, e.g. `encoder_name="resnet34", classes=3`.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file or an option cannot be read, or the tensors do not fit.
    """
    from kseg.zoo.table import build  # which imports the builders, which import this module

    builder, arguments, arrays = convert(read(path, part, without=without), model, **options)
    built = build(builder, arguments.pop("num_classes"), **arguments, encoder_weights=None)
    pretrained.load(built, arrays)
    return built


def read_folder(folder: str | os.PathLike) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """As `convert`, from a hub folder that `save_pretrained` wrote; `kseg.zoo.load(folder)` calls this function."""
    path = Path(folder, "config.json")
    if not path.is_file():
        runs = sorted(each.parent.name for each in Path(folder).glob("*/best.safetensors"))
        cure = f": name one of its run folders, {', '.join(runs[:5])}" if runs else ""
        raise FileNotFoundError(
            f"{folder} is neither a run folder (best.safetensors) nor a hub folder (config.json){cure}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(config, dict) or not isinstance(model := config.get("_model_class"), str):
        raise ValueError(f"{path} names no model class: segmentation-models-pytorch did not write it")
    return convert(read(Path(folder, "model.safetensors")), model, **config)
