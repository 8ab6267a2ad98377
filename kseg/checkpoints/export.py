"""Writes models as folders that other libraries load."""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import safetensors.numpy

from kseg.checkpoints.keys import weight_keys
from kseg.checkpoints.processor import PROCESSOR, write_processor
from kseg.checkpoints.transformers import ARCHITECTURES, CONFIG, WEIGHTS

if TYPE_CHECKING:
    import keras

Exporter: TypeAlias = "Callable[[keras.Model, str | os.PathLike], pathlib.Path]"

EXPORTERS: dict[str, Exporter] = {}
"""The functions that write the folders, by the name of the other library; `kseg.zoo` fills this table."""


def export_smp(model: "keras.Model", folder: str | os.PathLike) -> pathlib.Path:
    """Writes a model as a hub folder of segmentation-models-pytorch.

    `segmentation_models_pytorch.from_pretrained(folder)` loads it, and so does `kseg.zoo.load(folder)`. The logits are
    the same where the encoder's stride divides the sides, which that library needs. Only its Unet takes other sizes,
    and has the logits of `kseg.zoo.unet` with `doubling=True` or `interpolation="bilinear"` there. On a Swin it takes
    images of one size, that of `input_shape`, or the one in the name of the encoder.

    There the normalization is no part of the model. The folder has it in `albumentations_config_eval.json`, as that
    library's documentation proposes: `albumentations.Compose.from_pretrained(folder)(image=image)["image"]` is what the
    model expects, also for images of another range than 0 to 255 that the model stores; values beyond it are not
    clipped. Class names and colors are not stored.

    Args:
        model: A model that a builder of `kseg.zoo` returned, on an encoder that both have, with options that give that
            library's form; the docstrings of the builders name them.
        folder: The folder to make. It is written completely or not at all.

    Returns:
        The path of the folder.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        OSError: If it cannot be written.
        ValueError: If that library has no such builder, encoder or option; the message names it.
    """
    name = "segmentation-models-pytorch"
    if name not in EXPORTERS:
        raise ValueError(f"{model.name!r} was not built by kseg.zoo, which knows the models of {name}: import kseg.zoo")
    return EXPORTERS[name](model, folder)


def export_transformers(model: Any, folder: str | os.PathLike) -> pathlib.Path:
    """Writes a model as a folder that transformers loads.

    `transformers.AutoModelForSemanticSegmentation.from_pretrained(folder)` then gives the logits of the model, of a
    SegFormer before they are enlarged to the image. (A SegFormer whose encoder has another `epsilon` than 1e-5 is
    written with a warning: its logits differ there.) `AutoModelForUniversalSegmentation` loads an EoMT, whose masks and
    classes `post_process_semantic_segmentation` of the image processor combines to scores; there it takes images of one
    size only, the sides of the encoder's `grid` times those of its `patch`.
    `AutoImageProcessor.from_pretrained(folder)` normalizes images as the model does.

    Args:
        model: A model by `kseg.zoo.segformer` on a MiT encoder, by `kseg.zoo.upernet` on a ConvNeXt or Swin encoder, by
            `kseg.zoo.dpt` on a Vision Transformer, by `kseg.zoo.eomt`, by `kseg.zoo.deeplabv3` on a MobileViT, or, with
            `rates=()`, on `mobilenet_v2_torchvision`, or by `kseg.zoo.load`.
        folder: The folder to make. It is written completely or not at all.

    Returns:
        The folder.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        OSError: If it cannot be written.
        ValueError: If the model has no counterpart in transformers.

    Example:
        >>> import kseg
        >>> small = {"name": "mit_b0", "filters": [4, 8, 10, 16], "depths": [1, 1, 1, 1], "epsilon": 1e-5}
        >>> model = kseg.zoo.segformer(2, encoder=small, encoder_weights=None, filters=4)
        >>> folder = export_transformers(model, pathlib.Path(tempfile.mkdtemp(), "leaves"))
        >>> sorted(path.name for path in folder.iterdir())
        ['config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    from keras import ops

    arguments = dict(getattr(model, "arguments", {}))
    name = _counterpart(model, arguments.get("encoder"))
    if arguments.get("crf"):
        raise ValueError(f"{model.name!r} has a CRF, which transformers lacks: export the model without it")
    if activation := arguments.get("activation"):
        raise ValueError(
            f"{model.name!r} ends in {activation}, which transformers lacks: load its weights with activation=None"
        )
    _check_pixels(model, "transformers")
    architecture = ARCHITECTURES[name]
    fields, mean, std = architecture.config(arguments)
    count = arguments["num_classes"]
    classes = list(model.classes)[-count:] or [f"LABEL_{index}" for index in range(count)]  # class 0 of 2 is not stored
    config = {
        "architectures": [name],
        "num_channels": model.inputs[0].shape[-1],
        **fields,
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
    }
    arrays = {key: np.asarray(ops.convert_to_numpy(value)) for key, value in weight_keys(model).items()}
    rule = write_processor(mean, std, getattr(model, "processor", {}), architecture.processor)
    content = {
        WEIGHTS[0]: safetensors.numpy.save(architecture.tensors(arrays, fields), {"format": "pt"}),
        CONFIG: json.dumps(config, indent=2).encode(),
        PROCESSOR: json.dumps(rule, indent=2).encode(),
    }
    return write_folder(folder, content)


def write_folder(folder: str | os.PathLike, content: Mapping[str, bytes]) -> pathlib.Path:
    """Writes a folder completely or not at all.

    Args:
        folder: The folder to make.
        content: Its files, by name.

    Returns:
        The path of the folder.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        OSError: If it cannot be written.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists and is not empty: name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.kseg-", dir=folder.parent))
    try:
        for name, data in content.items():
            (aside / name).write_bytes(data)
        aside.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # it is gone if all went well
    return folder


def _counterpart(model: Any, encoder: Any) -> str:
    """Returns the name of the class of models of transformers."""
    known = dict.fromkeys(entry.builder for entry in ARCHITECTURES.values())
    names = {name: entry for name, entry in ARCHITECTURES.items() if entry.builder == getattr(model, "builder", "")}
    if not names:
        raise ValueError(f"{model.name!r} has no counterpart in transformers: kseg writes models of {', '.join(known)}")
    named = encoder["name"] if isinstance(encoder, Mapping) else encoder
    fits = [name for name, entry in names.items() if not entry.encoders or named in entry.encoders]
    if not fits:
        found = repr(named) if named else "an encoder of your own"
        raise ValueError(
            f"{model.name!r} has no counterpart in transformers on {found}, "
            f"only on {', '.join(one for entry in names.values() for one in entry.encoders)}"
        )
    return fits[0]


def _check_pixels(model: Any, library: str) -> None:
    if getattr(model, "pixels", None):
        raise ValueError(
            f"{model.name!r} stores what the numbers of its image files mean, which {library} lacks: scale the images "
            "there yourself, and export with model.pixels = {}"
        )
