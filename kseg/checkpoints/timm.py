"""Checkpoints of timm: its ResNets v1.5 (`resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`)."""

import os
from collections.abc import Mapping

import numpy as np

from kseg.checkpoints import reader, torchvision


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turns a ResNet of timm into a kseg encoder's arrays, without the classifier.

    timm calls the modules of these nets as torchvision does. Its variants with another stem or shortcut (`resnet50d`,
    say) do not fit: their tensors keep their names, and loading lists them.

    Args:
        state: `{name: array}` in PyTorch's layout.

    Returns:
        `{key: array}` for a model that `kseg.encoders.resnet.build` built.

    Example:
        >>> list(convert({"layer1.0.bn1.bias": np.ones(64), "fc.weight": np.ones((1000, 512))}))
        ['layer1_0_norm1/beta']
    """
    return torchvision.encoder(state)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a ResNet of timm from its file.

    What comes out goes into an encoder: `kseg.pretrained.load(model.get_layer("encoder"), arrays)`.

    Args:
        path: `model.safetensors` or `pytorch_model.bin`.

    Returns:
        As `convert`.

    Raises:
        ValueError: The file is truncated, or no weight file.
    """
    return convert(reader.read(path))
