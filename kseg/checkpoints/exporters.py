"""Models as folders that other libraries load. `kseg.zoo`, which knows the models, registers the functions."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import keras

Exporter: TypeAlias = "Callable[[keras.Model, str | os.PathLike], Path]"

EXPORTERS: dict[str, Exporter] = {}
"""The functions that write the folders, by the name of the other library."""


def export_smp(model: "keras.Model", folder: str | os.PathLike) -> Path:
    """Writes a model as a hub folder of segmentation-models-pytorch: `config.json` and `model.safetensors`.

    `segmentation_models_pytorch.from_pretrained(folder)` loads it, and so does `kseg.zoo.load(folder)`. The logits are
    the same at the sizes that both take: that library needs sides that the encoder's stride divides. It also expects
    images that are normalized already: `(image / 255 - mean) / std` with ImageNet's constants, see its
    `get_preprocessing_params`, because there the normalization is no part of the model. Class names and colors are not
    stored.

    Args:
        model: A model that a builder of `kseg.zoo` returned, on an encoder that both have, with options that give that
            library's form; the docstrings of the builders name them.
        folder: The folder; it is made if it does not exist. Files of the same names are replaced.

    Returns:
        The path of the folder.

    Raises:
        ValueError: If that library has no such builder, encoder or option; the message names it.
        OSError: If the files cannot be written.
    """
    name = "segmentation-models-pytorch"
    if name not in EXPORTERS:
        raise ValueError(f"{model.name!r} was not built by kseg.zoo, which knows the models of {name}: import kseg.zoo")
    return EXPORTERS[name](model, folder)
