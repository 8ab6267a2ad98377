"""`preprocessor_config.json` of transformers: normalization, and the size to which images are resized."""

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROCESSOR = "preprocessor_config.json"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters in the order of their numbers."""
KINDS: dict[str, dict[str, Any]] = {
    "Segformer": {},
    "DPT": {"image_mean": 0.5, "image_std": 0.5, "size": 384, "resample": 3},
    "MobileNetV2": {"image_mean": 0.5, "image_std": 0.5, "size": {"shortest_edge": 256}, "do_center_crop": True},
    "MobileViT": {"size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": True, "do_flip_channel_order": True},
    "Eomt": {"size": {"shortest_edge": 640, "longest_edge": 640}},
}
"""How the names of the classes of processors begin, and their values for fields that a file leaves out."""
SIZES = ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})


def read_processor(folder: str | os.PathLike, channels: int) -> tuple[list[float], list[float], dict[str, Any]]:
    """Reads what an image processor does to images from 0 to 255.

    Args:
        folder: The folder. Without the file, a warning says that ImageNet's mean and standard deviation are used.
        channels: Number of channels of the images.

    Returns:
        The mean and the standard deviation of each channel, from 0 to 255, and the rule by which images are resized:
        `size` (`height` and `width`, or `shortest_edge` and perhaps `longest_edge`), `resample`, and `window` if they
        are cut into windows of this side then; empty if they are not resized, or resized and then cropped, or by a rule
        that kseg does not know, which a warning names.

    Raises:
        ValueError: If the file is damaged, or a field changes the values of images in a way that kseg does not know;
            the message names the field.
    """
    path = Path(folder, PROCESSOR)
    kind, fields = _fields(path)
    if not path.is_file():
        warnings.warn(f"{folder} has no {PROCESSOR}: ImageNet's mean and standard deviation are used", stacklevel=2)
    if fields.get("do_flip_channel_order") and kind != "MobileViT":
        raise ValueError(f"{path}: kseg cannot build do_flip_channel_order = true, only false")
    factor = fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0
    mean, std = [0.0] * channels, [1.0] * channels
    if fields.get("do_normalize", True) and kind != "MobileViT":  # whose processors ignore the field
        mean, std = (_channels(path, fields, name, channels) for name in ("image_mean", "image_std"))
    try:
        mean, std = ([float(value) / factor for value in each] for each in (mean, std))
    except (TypeError, ZeroDivisionError):
        raise ValueError(f"{path}: rescale_factor, image_mean and image_std must be numbers") from None
    return mean, std, _rule(path, fields) if path.is_file() else {}


def flips_channels(folder: str | os.PathLike) -> bool:
    """Returns whether the image processor of a folder reverses the order of the channels, to blue, green, red."""
    return bool(_fields(Path(folder, PROCESSOR))[1].get("do_flip_channel_order"))


def write_processor(mean: Sequence[float], std: Sequence[float], rule: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Returns the fields for `preprocessor_config.json` for what `read_processor` returns; `kind` names the class."""
    return {
        "image_processor_type": kind,
        "do_resize": bool(rule),
        **({"size": dict(rule["size"]), "resample": RESAMPLING.index(rule["resample"])} if rule else {}),
        **({"do_split_image": True} if "window" in rule else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in mean],
        "image_std": [value / 255 for value in std],
        "do_reduce_labels": False,
    }


def is_imagenet(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Returns whether these are ImageNet's mean and standard deviation, on the scale 0 to 255."""
    return len(mean) == 3 and all(map(math.isclose, (*mean, *std), [255 * value for value in (*MEAN, *STD)]))


def _fields(path: Path) -> tuple[str, dict[str, Any]]:
    """Returns the kind of a processor, a key of `KINDS`, and its fields."""
    fields: dict[str, Any] = {}
    if path.is_file():
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error})") from None
        if not isinstance(fields, dict):
            raise ValueError(f"{path} is damaged (it is not a JSON object)")
    name = fields.get("image_processor_type", fields.get("feature_extractor_type")) or "Segformer"
    kind = next((each for each in KINDS if str(name).startswith(each)), None)
    if kind is None:
        raise ValueError(
            f"{path}: kseg does not know image_processor_type = {json.dumps(name)}, only {' or '.join(KINDS)}"
        )
    return kind, {**KINDS[kind], **fields}


def _channels(path: Path, fields: Mapping[str, Any], name: str, channels: int) -> list[float]:
    found = fields.get(name, MEAN if name == "image_mean" else STD)
    found = [found] * channels if isinstance(found, int | float) else list(found)
    if len(found) != channels:
        raise ValueError(f"{path}: {name} has {len(found)} entries, but num_channels = {channels}")
    return found


def _rule(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not fields.get("do_resize", True) or fields.get("do_center_crop") or fields.get("do_pad"):
        return {}
    size = fields.get("size", 512)
    size = {"height": size, "width": size} if isinstance(size, int) else size
    known = isinstance(size, dict) and {key for key, side in size.items() if side is not None} in SIZES
    if not known or not all(isinstance(side, int) and side > 0 for side in size.values() if side is not None):
        return _unknown(path, f"size = {json.dumps(size)}")
    if fields.get("keep_aspect_ratio"):
        return _unknown(path, "keep_aspect_ratio = true")
    if any(side % fields.get("ensure_multiple_of", 1) for side in size.values() if side is not None):
        return _unknown(path, f"ensure_multiple_of = {json.dumps(fields['ensure_multiple_of'])}")
    resample = fields.get("resample", 2)
    if resample not in range(len(RESAMPLING)):
        return _unknown(path, f"resample = {json.dumps(resample)}")
    sides = {key: side for key, side in size.items() if side is not None}
    if fields.get("do_split_image") and sides.keys() != {"shortest_edge"}:
        return _unknown(path, f"size = {json.dumps(size)} with do_split_image = true")
    window = {"window": sides["shortest_edge"]} if fields.get("do_split_image") else {}
    return {"size": sides, "resample": RESAMPLING[resample], **window}


def _unknown(path: Path, field: str) -> dict[str, Any]:
    warnings.warn(
        f"{path}: kseg does not know {field}, so the model does not store how images are resized", stacklevel=5
    )
    return {}
