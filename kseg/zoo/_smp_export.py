"""Models of kseg as hub folders of segmentation-models-pytorch."""

import json
import os
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from kseg import encoders, pretrained
from kseg.checkpoints import CONFIG, LIMIT, TRANSFORMS, WEIGHTS, limit_of, revert, write_folder, write_normalize
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo.table import BUILDERS

LIBRARY = "segmentation-models-pytorch"

EQUAL = ("doubling", "dropout")
"""Options that make no difference in inference at sizes that the encoder's stride divides."""


def export(model: keras.Model, folder: str | os.PathLike) -> Path:
    """See `kseg.checkpoints.export_smp`."""
    description = pretrained.description_of(model)
    builder, arguments = description["builder"], description["arguments"]
    names = {known.builder: name for name, known in _smp_table.MODELS.items()}
    if builder not in names:
        raise ValueError(f"{LIBRARY} has no {builder or model.name!r}, only the models of {', '.join(names)}")
    name = names[builder]
    options = _options(name, arguments)
    encoder = _smp_encoders.ENCODERS[options["encoder_name"]]
    sides = arguments["input_shape"][:2]
    if encoder.sized and all(sides):
        if any(side % encoder.sized for side in sides):
            raise ValueError(
                f"{LIBRARY} has the same logits on {options['encoder_name']} only for sides that are multiples of "
                f"{encoder.sized}, not for {sides[0]}x{sides[1]}: build the model with such an input_shape, or with "
                f"(None, None, {arguments['input_shape'][-1]})"
            )
        options["img_size"] = sides
    if not options["img_size"]:
        del options["img_size"]  # not all encoders there have this option
    arrays = {key: keras.ops.convert_to_numpy(variable) for key, variable in pretrained.weight_keys(model).items()}
    if options["encoder_depth"] in encoder.left_out:
        arrays = {**_left_out(options), **arrays}
    state = dict(encoder.joined(revert(arrays, _smp_table.rules_of(name, options))))
    state |= {key: np.zeros(shape, "float32") for key, shape in _smp_table.unused_of(name, options).items()}
    content = {
        WEIGHTS[0]: safetensors.numpy.save(state, {"format": "pt"}),
        CONFIG: json.dumps({**options, "_model_class": name}, indent=2).encode(),
        TRANSFORMS: json.dumps(_normalization(model), indent=2).encode(),
    }
    return write_folder(folder, content)


def _normalization(model: keras.Model) -> dict[str, Any]:
    """The first layer of the encoder, as a transform of albumentations."""
    layer = model.get_layer("encoder").get_layer("normalization")
    scale, offset = np.array(layer.scale), np.array(layer.offset)
    mean, std = -offset / scale / LIMIT, 1 / scale / LIMIT
    return write_normalize(mean.round(9).tolist(), std.round(9).tolist(), limit_of(getattr(model, "pixels", {})))


def _plain(encoder: Any) -> dict[str, Any]:
    """The options of an encoder without the constants of its normalization, which the folder has in another file."""
    given = encoder if isinstance(encoder, dict) else {"name": encoder}
    return {key: value for key, value in given.items() if key not in ("mean", "std")}


def _options(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Translates the arguments of a builder to the options of the library's class, and checks that none is lost.

    The library may have one encoder under several names, which differ in how they are dilated: the first that fits.
    """
    known = _smp_table.MODELS[name]
    options = {"in_channels": arguments["input_shape"][-1]}
    if isinstance(widths := arguments.get("filters"), list):  # the builders do not use more than they have blocks
        arguments = {**arguments, "filters": widths[: arguments["encoder_depth"]]}
    encoder_names: list[str] = []
    for key, option in known.options.items():
        if option.argument is None:
            options.setdefault(key, option.default)
            continue
        options[key] = value = arguments[option.argument]
        if option.values is not None:
            found = [theirs for theirs, ours in option.values.items() if ours == value]
            if key == "encoder_name":
                same = [theirs for theirs, ours in option.values.items() if _plain(ours) == _plain(value)]
                found = list(dict.fromkeys([*found, *same]))
            if not found:
                raise ValueError(_unknown(known.builder, option.argument, value, *option.values.values()))
            options[key] = found[0]
            encoder_names = found if key == "encoder_name" else encoder_names
    if known.upsampling:
        options["upsampling"] = known.upsampling(options)
    faults = []
    for encoder_name in encoder_names:
        if not (fault := _fault(name, {**options, "encoder_name": encoder_name}, arguments)):
            return {**options, "encoder_name": encoder_name}
        faults.append(fault)
    raise ValueError(faults[0])


def _fault(name: str, options: dict[str, Any], arguments: dict[str, Any]) -> str:
    """Returns what is wrong if other arguments belong to the options than those that are given."""
    builder = BUILDERS[_smp_table.MODELS[name].builder]
    expected = json.loads(json.dumps({**builder.defaults, **_smp_table.arguments_of(name, options), "crf": False}))
    for key in (*builder.options, "crf"):
        if key == "encoder" and _plain(arguments[key]) == _plain(expected[key]):
            continue
        if key not in EQUAL and arguments.get(key, expected[key]) != expected[key]:
            return _unknown(builder.__name__, key, arguments.get(key), expected[key])
    return ""


def _unknown(builder: str, argument: str, value: Any, *expected: Any) -> str:
    needed = " or ".join(map(repr, expected))
    if len(expected) > 8:
        needed = "one of those in kseg.zoo.smp.ENCODERS"
    return f"{LIBRARY} has no {builder} with {argument}={value!r}: it would need {argument}={needed}"


def _left_out(options: _smp_table.Options) -> dict[str, np.ndarray]:
    """Random values for the tensors of the encoder that the library stores beyond the depth that it uses."""
    known = _smp_encoders.ENCODERS[options["encoder_name"]]
    encoder = encoders.build(known.name, weights=None, input_shape=(None, None, options["in_channels"]))
    beyond = known.left_out.get(options["encoder_depth"], _smp_encoders.NOTHING)
    keys = {key: variable for key, variable in pretrained.weight_keys(encoder).items() if re.match(beyond, key)}
    return {f"encoder/{key}": keras.ops.convert_to_numpy(variable) for key, variable in keys.items()}
