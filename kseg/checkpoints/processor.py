"""`preprocessor_config.json` of transformers: normalization, and the size to which images are resized."""

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kseg.checkpoints.json_file import read_object

PROCESSOR = "preprocessor_config.json"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters in the order of their numbers."""
SIZES = ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})

_HALF = {"image_mean": 0.5, "image_std": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "Segformer": {"size": 512, "resample": 2, "image_mean": MEAN, "image_std": STD},
    "DPT": {"size": 384, "resample": 3, **_HALF},
    "Beit": {"size": 224, "resample": 3, **_HALF},
    "ConvNext": {"size": 384, "resample": 3, **_HALF},
    "ViT": {"size": 224, "resample": 2, **_HALF},
    "MobileNetV2": {"size": 256, "resample": 2, "do_center_crop": True, **_HALF},
    "MobileViT": {"size": 224, "resample": 3, "do_center_crop": True, "do_flip_channel_order": True, **_HALF},
    "Eomt": {"size": {"shortest_edge": 640, "longest_edge": 640}, "resample": 2, "image_mean": MEAN, "image_std": STD},
}
"""Prefixes of the names of image processor classes, and the defaults of each class."""
SHORTEST = ("ConvNext", "Eomt", "MobileNetV2", "MobileViT")
"""Those for which a number as `size` is the shortest edge; for the others, it is the height and the width."""

IGNORED = 255
"""The id that `ignore_index` of EoMT's processor gives to class 0 of the masks."""
CROPS = ("do_center_crop", "do_pad")
"""Fields that cut or enlarge images after they are resized; SegFormer's processor has none of them."""
SQUARE_FROM = 384
"""ConvNeXt's processor resizes to a square of this side or a larger one; to a smaller side, it cuts images too."""


def read_processor(
    folder: str | os.PathLike, channels: int, kind: str = "SegformerImageProcessor"
) -> tuple[list[float], list[float], dict[str, Any]]:
    """Reads what an image processor does to images from 0 to 255, and to masks.

    Args:
        folder: The folder. Without the file, a warning says that ImageNet's mean and standard deviation are used.
        channels: Number of channels of the images.
        kind: The class of the processor, for files that do not name it.

    Returns:
        The mean and the standard deviation of each channel, from 0 to 255, and what else the processor does, see
        `kseg.pretrained.SegmentationModel.processor`: `size` and `resample` if it resizes images by a rule that kseg
        knows, with `keep_aspect_ratio` and `ensure_multiple_of` of DPT's processor where they matter, and `window` if
        it cuts the resized images into windows of this side; `reduces_labels` if it does. A warning names the field of
        a rule that kseg does not know.

    Raises:
        ValueError: If the file is damaged, or a field changes the values of images in a way that kseg does not know;
            the message names the field.
    """
    path = Path(folder, PROCESSOR)
    if not path.is_file():
        warnings.warn(f"{folder} has no {PROCESSOR}: ImageNet's mean and standard deviation are used", stacklevel=2)
        return *_normalization(path, "Segformer", KINDS["Segformer"], channels), {}
    kind, fields = _fields(path, kind)
    rule = _rule(path, kind, fields)
    if _reduces_labels(kind, fields):
        rule["reduces_labels"] = True
    return *_normalization(path, kind, fields, channels), rule


def flips_channels(folder: str | os.PathLike, kind: str = "SegformerImageProcessor") -> bool:
    """Returns whether the image processor of a folder reverses the order of the channels, to blue, green, red.

    Args:
        folder: The folder.
        kind: The class of the processor, for files that do not name it.
    """
    path = Path(folder, PROCESSOR)
    return path.is_file() and bool(_fields(path, kind)[1].get("do_flip_channel_order"))


def write_processor(mean: Sequence[float], std: Sequence[float], rule: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Returns the fields for `preprocessor_config.json` for what `read_processor` returns; `kind` names the class."""
    dpt = {key: rule[key] for key in ("keep_aspect_ratio", "ensure_multiple_of") if key in rule}
    size = {"size": dict(rule["size"]), "resample": RESAMPLING.index(rule["resample"])} if "size" in rule else {}
    reduces = rule.get("reduces_labels", False)
    labels = (
        {"ignore_index": IGNORED if reduces else None} if kind.startswith("Eomt") else {"do_reduce_labels": reduces}
    )
    return {
        "image_processor_type": "DPTImageProcessor" if dpt else kind,
        "do_resize": bool(size),
        **size,
        **dpt,
        **({"do_split_image": True} if "window" in rule else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in mean],
        "image_std": [value / 255 for value in std],
        **labels,
    }


def is_imagenet(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Returns whether these are ImageNet's mean and standard deviation, on the scale 0 to 255."""
    return len(mean) == 3 and all(map(math.isclose, (*mean, *std), [255 * value for value in (*MEAN, *STD)]))


def _fields(path: Path, kind: str) -> tuple[str, dict[str, Any]]:
    """Returns the kind of a processor, a key of `KINDS`, and its fields."""
    fields = read_object(path)
    name = fields.get("image_processor_type", fields.get("feature_extractor_type")) or kind
    known = next((each for each in KINDS if str(name).startswith(each)), None)
    if known is None:
        raise ValueError(
            f"{path}: kseg does not know image_processor_type = {json.dumps(name)}, only {' or '.join(KINDS)}"
        )
    return known, {**KINDS[known], **{field: value for field, value in fields.items() if value is not None}}


def _reduces_labels(kind: str, fields: Mapping[str, Any]) -> bool:
    """Returns whether class 0 of the masks is left out, and the other ids are lowered by 1."""
    if kind == "Eomt":  # which has no do_reduce_labels
        return "ignore_index" in fields
    return bool(fields.get("do_reduce_labels", fields.get("reduce_labels")))


def _normalization(path: Path, kind: str, fields: Mapping[str, Any], channels: int) -> tuple[list[float], list[float]]:
    if fields.get("do_flip_channel_order") and kind != "MobileViT":
        raise ValueError(f"{path}: kseg cannot build do_flip_channel_order = true, only false")
    factor = fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0
    mean, std = [0.0] * channels, [1.0] * channels
    if fields.get("do_normalize", True) and kind != "MobileViT":  # whose processors ignore the field
        mean, std = (_channels(path, fields[name], name, channels) for name in ("image_mean", "image_std"))
    try:
        mean, std = ([float(value) / factor for value in each] for each in (mean, std))
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"{path}: rescale_factor, image_mean and image_std must be numbers") from None
    if not all(value > 0 for value in std):
        raise ValueError(f"{path}: image_std and rescale_factor must be positive")
    return mean, std


def _channels(path: Path, value: Any, name: str, channels: int) -> list[Any]:
    found = [value] * channels if isinstance(value, int | float) else list(value)
    if len(found) != channels:
        raise ValueError(f"{path}: {name} has {len(found)} entries, but num_channels = {channels}")
    return found


def _rule(path: Path, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rule by which images are resized; empty if they are not, or if a warning says why."""
    if not fields.get("do_resize", True):
        return {}
    for field in CROPS if kind != "Segformer" else ():
        if fields.get(field):
            return _unknown(path, f"{field} = true")
    size = fields["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind in SHORTEST else {"height": size, "width": size}
    elif isinstance(size, list) and len(size) == 2:
        size = dict(zip(("height", "width"), size, strict=True))
    sides = {key: side for key, side in size.items() if side is not None} if isinstance(size, dict) else {}
    allowed = {"DPT": SIZES[:1], "ConvNext": SIZES[1:2]}.get(kind, SIZES)
    if set(sides) not in allowed or not all(isinstance(side, int) and side > 0 for side in sides.values()):
        return _unknown(path, f"size = {json.dumps(size)}")
    if kind == "ConvNext":
        side = sides["shortest_edge"]
        if side < SQUARE_FROM:
            return _unknown(path, f"size = {json.dumps(size)} below {SQUARE_FROM}, where images are cut,")
        sides = {"height": side, "width": side}
    resample = fields["resample"]
    if resample not in range(len(RESAMPLING)):
        return _unknown(path, f"resample = {json.dumps(resample)}")
    rule: dict[str, Any] = {"size": sides, "resample": RESAMPLING[resample]}
    if fields.get("do_split_image"):
        if sides.keys() != {"shortest_edge"}:
            return _unknown(path, f"size = {json.dumps(size)} with do_split_image = true")
        rule["window"] = sides["shortest_edge"]
    if kind == "DPT":
        rule |= {"keep_aspect_ratio": True} if fields.get("keep_aspect_ratio") else {}
        multiple = fields.get("ensure_multiple_of", 1)
        if not isinstance(multiple, int) or multiple < 1:
            return _unknown(path, f"ensure_multiple_of = {json.dumps(multiple)}")
        rule |= {"ensure_multiple_of": multiple} if multiple > 1 else {}
    return rule


def _unknown(path: Path, field: str) -> dict[str, Any]:
    warnings.warn(
        f"{path}: kseg does not know {field}, so the model does not store how images are resized", stacklevel=5
    )
    return {}
