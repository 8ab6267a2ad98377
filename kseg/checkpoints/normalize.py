"""`albumentations_config_eval.json`: how images are normalized for a model of segmentation-models-pytorch.

That library has no file for this; its documentation stores the transforms of albumentations beside the model.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kseg.checkpoints.json_file import read_object

TRANSFORMS = "albumentations_config_eval.json"
"""The name under which `albumentations.Compose.from_pretrained` looks for its transforms."""

VERSION = "2.0.8"
"""The version of albumentations whose form is written."""

LIMIT = 255.0

NEUTRAL = ("PadIfNeeded", "Pad", "ToTensorV2", "NoOp")
"""Transforms without which a model of kseg gives the same logits in the image."""


class Normalize(NamedTuple):
    """How the numbers of images are normalized: `(image / limit - mean) / std`.

    Attributes:
        mean: Mean of each channel, for images of 0 to 1.
        std: Standard deviation of each channel.
        limit: The greatest number of an image.
    """

    mean: list[float]
    std: list[float]
    limit: float = LIMIT


def limit_of(pixels: Mapping[str, Any]) -> float:
    """Returns the greatest number of the images of a model, from what it stores about them (`kseg.data.Pixels`).

    Raises:
        ValueError: If it stores more than a range from 0 on.

    Example:
        >>> limit_of({}), limit_of({"range": [0, 4095]})
        (255.0, 4095.0)
    """
    span = pixels.get("range", (0.0, LIMIT))
    if pixels.keys() - {"range"} or isinstance(span, str) or span[0]:
        raise ValueError(
            f"Normalize of albumentations cannot repeat {json.dumps(dict(pixels))} for image files, only a range from "
            "0 on: prepare the images yourself, and export with model.pixels = {}"
        )
    return float(span[1])


def write_normalize(mean: Sequence[float], std: Sequence[float], limit: float = LIMIT) -> dict[str, Any]:
    """Returns the content of the file; see `Normalize`.

    Example:
        >>> write_normalize([0.5], [0.25])["transform"]["transforms"][0]["mean"]
        [0.5]
    """
    transform = {
        "__class_fullname__": "Normalize",
        "p": 1.0,
        "max_pixel_value": limit,
        "mean": list(mean),
        "normalization": "standard",
        "std": list(std),
    }
    compose = {
        "__class_fullname__": "Compose",
        "p": 1.0,
        "transforms": [transform],
        "bbox_params": None,
        "keypoint_params": None,
        "additional_targets": {},
        "is_check_shapes": True,
    }
    return {"__version__": VERSION, "transform": compose}


def read_normalize(folder: str | os.PathLike, channels: int) -> Normalize | None:
    """Reads how images are normalized for the model in a folder.

    Args:
        folder: The folder.
        channels: Number of channels of the images.

    Returns:
        The constants; None if the folder has no such file, or if it does not say. With `max_pixel_value` 1, constants
        above 1 are those of images of 0 to 255, which albumentations then does not scale. A warning names transforms
        that a model of kseg does not repeat, such as those that resize.

    Raises:
        ValueError: If the file is damaged, or its constants are impossible or do not fit the channels; the message
            names the field.
    """
    path = Path(folder, TRANSFORMS)
    if not path.is_file():
        return None
    content = read_object(path)
    try:
        transform = content["transform"]
        transforms = [(str(each["__class_fullname__"]).rpartition(".")[2], each) for each in _flat(transform)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    found, others = None, []
    for name, fields in transforms:
        if name == "Normalize" and fields.get("normalization", "standard") == "standard" and not found:
            found = _constants(path, fields, channels)
        elif name not in NEUTRAL:
            others.append(name)
    if others:
        warnings.warn(f"{path}: kseg does not repeat {', '.join(others)} of albumentations", stacklevel=5)
    return found


def _flat(transform: dict[str, Any]) -> list[dict[str, Any]]:
    if "transforms" not in transform:
        return [transform]
    return [each for inner in transform["transforms"] for each in _flat(inner)]


def _constants(path: Path, fields: dict[str, Any], channels: int) -> Normalize:
    def constants(name: str) -> list[float]:
        given = fields.get(name)
        values = [given] * channels if isinstance(given, int | float) else given
        if not isinstance(values, list) or len(values) != channels:
            raise ValueError(f"{path}: {name} must have {channels} numbers, one for each channel, got {given!r}")
        return [_number(path, name, value) for value in values]

    mean, std = constants("mean"), constants("std")
    limit = _number(path, "max_pixel_value", fields.get("max_pixel_value", LIMIT))
    for name, least in (("std", min(std)), ("max_pixel_value", limit)):
        if least <= 0:
            raise ValueError(f"{path}: {name} must be positive, got {json.dumps(fields[name])}")
    if limit == 1 and max(*mean, *std) > 1:
        return Normalize([value / LIMIT for value in mean], [value / LIMIT for value in std])
    return Normalize(mean, std, limit)


def _number(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{path}: {name} must be finite numbers, got {json.dumps(value)}")
    return float(value)
