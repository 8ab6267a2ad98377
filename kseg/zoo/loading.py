"""From weights alone to the model."""

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kseg import pretrained
from kseg.checkpoints import CONFIG, Config, describe_transformers, read_config, read_transformers
from kseg.pretrained.file import other_kind
from kseg.zoo import smp, torchvision
from kseg.zoo._options import checks_options
from kseg.zoo.table import BUILDERS, build


def list_weights() -> list[str]:
    """Returns the names of all released weights; `kseg.pretrained.RELEASES` describes them.

    Example:
        >>> "unet-efficientnet_lite0-camvid" in list_weights()
        True
    """
    return list(pretrained.RELEASES)


@checks_options
def load(
    source: str | os.PathLike, num_classes: int | None = None, *, strict: bool = True, head: str = "load"
) -> pretrained.SegmentationModel:
    """Rebuilds a model from its weights alone.

    Args:
        source: One of

            - a name in `list_weights()`;
            - a `.safetensors` file that kseg wrote, or the run folder of a training with its `best.safetensors`;
            - the address of such a file (`https://...`, `hf://owner/repository/path`), or of a repository to which
              `kseg weights push` uploaded one (`hf://owner/repository`), which is downloaded once;
            - `torchvision/` and a name in `kseg.zoo.torchvision.PUBLISHED`: downloaded, verified and converted
              once;
            - a hub folder of segmentation-models-pytorch (`config.json` and `model.safetensors`);
            - a folder of transformers, with `config.json`, `model.safetensors` or `pytorch_model.bin` and
              `preprocessor_config.json`, of a `SegformerForSemanticSegmentation`, of an
              `UperNetForSemanticSegmentation` with a ConvNeXt, ConvNeXt V2 or Swin, of a
              `DPTForSemanticSegmentation` without a convolutional network (`is_hybrid`), of a
              `MobileNetV2ForSemanticSegmentation`, of a `MobileViTForSemanticSegmentation`, or of an
              `EomtForUniversalSegmentation`; auxiliary heads are left out;
            - a repository on the Hugging Face hub with the files of such a folder, `hf://owner/name` or `owner/name`,
              with or without `@revision`; it is downloaded once, by huggingface_hub;
            - a whole Keras model, `.keras` or `.h5`.
        num_classes: A number of classes that differs from the file's; the head is initialized randomly then.
        strict: False loads the tensors that fit and lists the others in a warning.
        head: `"load"`, or `"skip"` to initialize the layers whose shape depends on the number of classes randomly; a
            warning lists them.

    Returns:
        The model, with the attributes `classes` (names in the order of their ids) and `palette` (R, G, B per class),
        both empty if the file does not contain them or `num_classes` differs, and `pixels` (what the numbers of image
        files mean).

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If there is no such option.
        OSError: If the download failed; the message says which file to put where instead, where that is possible.
        ValueError: If no weights have that name, or if the file is damaged, does not describe its model, or does not
            fit it.

    Example:
        >>> load("torchvision/deeplabv3_resnet5-coco_voc")
        Traceback (most recent call last):
        ...
        ValueError: torchvision publishes no 'deeplabv3_resnet5-coco_voc': did you mean deeplabv3_resnet50-coco_voc?
    """
    description: Mapping[str, Any]
    weights: Any = locate(source)
    if os.path.isdir(weights):
        description, weights = _read_folder(weights)
    elif _is_whole(os.fspath(weights)):
        return _whole(weights, num_classes)
    else:
        description = pretrained.describe(weights)
    if (builder := description["builder"]) not in BUILDERS:
        raise ValueError(
            f"{source} was written by {builder}, which is not in kseg.zoo.BUILDERS: call {builder}(weights=FILE)"
        )
    arguments = dict(description["arguments"])
    if (known := arguments.pop("num_classes", None)) is None:
        raise ValueError(f"{source} does not store the number of classes: pass it to the builder as weights=")
    if "encoder" in arguments and arguments["encoder"] is None:
        raise ValueError(
            f"{source} was trained on an encoder of your own: kseg.zoo.{builder}(encoder=YOURS, weights=FILE)"
        )
    if "encoder_weights" in BUILDERS[builder].defaults:
        arguments["encoder_weights"] = None
    model = build(builder, known if num_classes is None else num_classes, **arguments)
    same = num_classes in (None, known)
    pretrained.load(model, weights, strict=strict, head=head if same else "skip")
    kept = ("classes", "palette", "pixels", "processor") if same else ("pixels", "processor")
    return pretrained.SegmentationModel.of(model, **{name: description[name] for name in kept if name in description})


def locate(source: str | os.PathLike) -> str | os.PathLike:
    """Returns the file or the folder of weights that `load` reads, downloaded if necessary."""
    if (name := os.fspath(source)).startswith(torchvision.PREFIX):
        return torchvision.fetch(name.removeprefix(torchvision.PREFIX))
    if (named := pretrained.repository_named(source)) is None:
        return pretrained.locate(source)
    repository, revision = named
    address = f"hf://{repository}@{revision}" if revision else f"hf://{repository}"
    try:
        folder = pretrained.fetch_repository(repository, revision, check=_check_folder)
        return folder or pretrained.locate(address)
    except OSError as error:
        if os.fspath(source).startswith("hf://"):
            raise
        raise type(error)(f"there is no file {source}, and {error}") from None


def _read_folder(folder: str | os.PathLike) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
    """Reads the folder of a model that another library wrote."""
    config = _config_of(folder)
    return read_transformers(folder) if _is_of_transformers(config) else smp.read_folder(folder, config)


def _check_folder(folder: str | os.PathLike) -> None:
    """Raises a ValueError if kseg cannot build what the configuration in a folder describes."""
    config = _config_of(folder)
    if _is_of_transformers(config):
        describe_transformers(folder)
    else:
        smp.convert({}, **smp.options_of(config))


def _config_of(folder: str | os.PathLike) -> Config:
    if (pathlib.Path(folder) / CONFIG).is_file():
        return read_config(folder)
    runs = sorted(each.parent.name for each in pathlib.Path(folder).glob("*/best.safetensors"))
    cure = f": name one of its run folders, {', '.join(runs[:5])}" if runs else ""
    raise FileNotFoundError(f"{folder} is neither a run folder (best.safetensors) nor a hub folder ({CONFIG}){cure}")


def _is_of_transformers(config: Config) -> bool:
    return not {"architectures", "model_type"}.isdisjoint(config)


def _is_whole(path: str) -> bool:
    return path.endswith((".keras", ".h5", ".hdf5")) and not path.endswith(".weights.h5") and os.path.isfile(path)


def _whole(path: str | os.PathLike, num_classes: int | None) -> pretrained.SegmentationModel:
    with open(path, "rb") as file:
        is_hdf5 = file.read(4) == b"\x89HDF"
    if not is_hdf5 and not zipfile.is_zipfile(path):
        kind = other_kind(pathlib.Path(path)) or "is damaged or no Keras model: fetch or write it again"
        raise ValueError(f"{path} {kind}")
    try:
        objects = {"SegmentationModel": pretrained.SegmentationModel}  # HDF5 files leave out its package
        model = keras.saving.load_model(path, custom_objects=objects, compile=False)
    except Exception as error:  # of many types: Keras's own, of the archive, and of the classes in it
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{path} cannot be loaded as a Keras model ({reason}): classes and functions of your own must be "
            "registered and imported, so load it in Python, kseg.inference.Predictor(keras.saving.load_model(FILE))"
        ) from error
    if num_classes not in (None, pretrained.description_of(model)["arguments"].get("num_classes")):
        raise ValueError(f"{path} is a whole Keras model, whose number of classes is fixed: leave num_classes out")
    return model if isinstance(model, pretrained.SegmentationModel) else pretrained.SegmentationModel.of(model)
