"""Weights of timm from the Hugging Face hub: `encoder_weights="timm/NAME"` or `"timm/NAME@COMMIT"`."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg import checkpoints, download
from kseg.encoders.channels import IMAGENET

PREFIX = "timm/"

NEUTRAL = ("num_classes", "global_pool", "drop_rate", "drop_path_rate", "img_size", "in_chans")
"""Arguments of timm's models that change no tensor of an encoder."""

NOT_COMMERCIAL = {"convnextv2": "CC BY-NC 4.0"}
"""Licenses of all weights of some architectures, by how their names begin."""


@dataclass(frozen=True)
class Description:
    """What a repository of timm says about its weights.

    Attributes:
        repository: `timm/NAME`.
        revision: A branch, tag or commit, or None.
        architecture: Name of the model in timm.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.
        license: License of the weights if it forbids commercial use, or an empty string.
    """

    repository: str
    revision: str | None
    architecture: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    license: str


def is_address(weights: Any) -> bool:
    """Returns whether this is an address of timm's weights, and not an existing file.

    Example:
        >>> is_address("timm/resnet50.a1_in1k"), is_address("imagenet")
        (True, False)
    """
    return isinstance(weights, str) and weights.startswith(PREFIX) and not os.path.exists(weights)


def describe(address: str) -> Description:
    """Downloads `config.json` of a repository, unless the cache has it, and reads it.

    Args:
        address: `timm/NAME` or `timm/NAME@COMMIT`.

    Raises:
        OSError: If the hub has no such repository, cannot be reached, or the download failed.
        ValueError: If the file does not describe a model of timm, or one with arguments of its own.
    """
    repository, _, revision = address.partition("@")
    if repository.count("/") > 1 or repository == PREFIX:
        raise ValueError(f"{address} is no repository of timm: write timm/NAME or timm/NAME@COMMIT")
    path = download.fetch_from_hub(repository, "config.json", revision or None)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = str(config["architecture"])
        published = {**config, **config.get("pretrained_cfg", {})}  # older files have the fields at the top
        mean, std = (
            tuple(255 * float(value) for value in published[key]) if key in published else default
            for key, default in (("mean", IMAGENET.mean), ("std", IMAGENET.std))
        )
        changed = [key for key in config.get("model_args") or {} if key not in NEUTRAL]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{address}: config.json does not describe a model of timm ({error!r})") from None
    if changed:
        raise ValueError(f"{address}: config.json sets model_args {', '.join(changed)}, which kseg does not build")
    license = str(published.get("license") or "")
    known = [name for start, name in NOT_COMMERCIAL.items() if architecture.startswith(start)]
    restricted = (known or [license if re.search("-nc|seer", license.lower()) else ""])[0]
    return Description(repository, revision or None, architecture, mean, std, restricted)


def read(address: str, convert: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Downloads `model.safetensors` of a repository, verified, unless the cache has it, and converts its tensors.

    Args:
        address: As in `describe`.
        convert: Converts the tensors of timm's model, without its classifier, to those of an encoder.

    Returns:
        `{key: array}`.

    Raises:
        OSError: As in `describe`.
        ValueError: If the file cannot be read.
    """
    described = describe(address)
    if described.license:
        print(f"{address} has the license {described.license}, which forbids commercial use", file=sys.stderr)
    return convert(
        checkpoints.read(download.fetch_from_hub(described.repository, "model.safetensors", described.revision))
    )
