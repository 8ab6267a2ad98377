"""The builders, one paper a file: functions that return a plain functional `keras.Model`.

(The folder `zoo/` at the top of the repository is another thing: it records how each released weight was trained.)
"""

import difflib
import inspect
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kseg import download, pretrained
from kseg.checkpoints import read
from kseg.zoo import smp, torchvision
from kseg.zoo.baselines import convolutionalize, full_resolution, patch_classifier
from kseg.zoo.deeplab import deeplabv3, deeplabv3plus
from kseg.zoo.deeplab_v1_v2 import deeplabv1, deeplabv2
from kseg.zoo.fcn import fcn8, fcn16, fcn32, fcn_dilated
from kseg.zoo.measure import Summary, multiply_adds, receptive_field, rows
from kseg.zoo.segnet import segnet, segnet_basic
from kseg.zoo.unet import unet, unet_2015

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "full_resolution": full_resolution,
    "fcn32": fcn32,
    "fcn16": fcn16,
    "fcn8": fcn8,
    "fcn_dilated": fcn_dilated,
    "segnet": segnet,
    "segnet_basic": segnet_basic,
    "unet": unet,
    "unet_2015": unet_2015,
    "deeplabv1": deeplabv1,
    "deeplabv2": deeplabv2,
    "deeplabv3": deeplabv3,
    "deeplabv3plus": deeplabv3plus,
}

__all__ = [
    "BUILDERS",
    "build",
    "convolutionalize",
    "list_models",
    "list_weights",
    "load",
    "multiply_adds",
    "patch_classifier",
    "receptive_field",
    "summary",
    *BUILDERS,
]


def list_models() -> list[str]:
    """Names all builders.

    Example:
        >>> "unet" in list_models()
        True
    """
    return list(BUILDERS)


def list_weights() -> list[str]:
    """Names all released weights; `kseg.pretrained.RELEASES` says what each is.

    Example:
        >>> "unet-efficientnet_lite0-camvid" in list_weights()
        True
    """
    return list(pretrained.RELEASES)


def summary(
    size: tuple[int, int] = (360, 480), num_classes: int = 21, builders: Sequence[str] | None = None
) -> Summary:
    """Compares the builders, each on its default encoder; downloads nothing.

    Args:
        size: Height and width of the image for the multiply-adds.
        num_classes: Of every model.
        builders: Names; None for all, which takes about half a minute.

    Returns:
        A list of dictionaries, one a builder, that prints as a table: `builder`, `encoder` (the default), `encoders`
        (those that fit), `parameters`, `multiply_adds` (None where the net cannot take the size), `output_stride` and
        `receptive_field` (pixels; infinite where a mean of the whole image takes part).

    Example:
        >>> print(summary(builders=["segnet_basic"], num_classes=11))  # doctest: +NORMALIZE_WHITESPACE
        builder       encoder  fit  parameters  multiply-adds  output stride  receptive field
        segnet_basic  its own  -    1.42 M      59.19 G        16             196 px
    """
    names = list(BUILDERS) if builders is None else builders
    return rows({name: BUILDERS[name] for name in names}, size=size, num_classes=num_classes)


def build(builder: str, num_classes: int | None = None, **arguments: object) -> keras.Model:
    """Builds a model by its builder's name.

    Args:
        builder: A key of `BUILDERS`.
        num_classes: As in the builder.
        **arguments: The builder's own keyword arguments; a misspelt one raises TypeError.

    Returns:
        The model.

    Raises:
        ValueError: There is no such builder; near matches are named.
    """
    if builder not in BUILDERS:
        near = difflib.get_close_matches(builder, BUILDERS, n=3, cutoff=0.4) or list(BUILDERS)
        raise ValueError(f"unknown builder {builder!r}: did you mean {' or '.join(near)}?")
    return BUILDERS[builder](num_classes, **arguments)


def load(
    source: str | os.PathLike, num_classes: int | None = None, *, strict: bool = True, head: str = "load"
) -> keras.Model:
    """Rebuilds a model from its weights alone.

    Args:
        source: A name in `list_weights()`; a `.safetensors` file that kseg wrote (`best.safetensors` of a run folder,
            say), or its address (`https://...`, `hf://owner/repository/path`), which is downloaded once; a name in
            `kseg.zoo.torchvision.PUBLISHED` with `torchvision/` before it, which is downloaded, verified and
            converted once; or a hub folder of segmentation-models-pytorch (`config.json` and `model.safetensors`).
        num_classes: Another class count than the file's: the head starts afresh, all else is kept.
        strict: False loads what fits and reports the rest in a warning.
        head: `"load"`, or `"skip"` to start the layers that know the class count afresh; a warning names them. Another
            class count always starts them afresh.

    Returns:
        The model, with the attributes `classes` (names in the order of their ids) and `palette` (R, G, B of each);
        empty where the file does not know them, or the classes are others.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The download failed; where a file can be put by hand, the message says which and where.
        ValueError: No weights have that name; or the file is broken, does not say which model it belongs to, or does
            not fit it.

    Example:
        >>> load("torchvision/deeplabv3_resnet5-coco_voc")
        Traceback (most recent call last):
        ...
        ValueError: torchvision publishes no 'deeplabv3_resnet5-coco_voc': did you mean deeplabv3_resnet50-coco_voc?
    """
    description: dict[str, Any]
    weights: str | os.PathLike | dict[str, np.ndarray]
    source = _published(source) if os.fspath(source).startswith("torchvision/") else pretrained.locate(source)
    if os.path.isdir(source):
        builder, arguments, weights = smp.read_folder(source)
        description = {"builder": builder, "arguments": arguments}
    else:
        weights, description = source, pretrained.describe(source)
    arguments = dict(description["arguments"])
    if (known := arguments.pop("num_classes", None)) is None:
        raise ValueError(f"{os.fspath(source)} does not say how many classes it has: build the model, then load it")
    same = num_classes in (None, known)
    builder = description["builder"]
    if "encoder_weights" in inspect.signature(BUILDERS.get(builder, unet)).parameters:
        arguments["encoder_weights"] = None
    model = build(builder, known if num_classes is None else num_classes, **arguments)
    pretrained.load(model, weights, strict=strict, head=head if same else "skip")
    model.classes = tuple(description.get("classes", ())) if same else ()
    model.palette = tuple(tuple(colour) for colour in description.get("palette", ())) if same else ()
    return model


def _published(source: str | os.PathLike) -> str:
    """The converted file of a checkpoint that torchvision published; downloaded and converted the first time."""
    name = os.fspath(source).removeprefix("torchvision/")
    if name not in torchvision.PUBLISHED:
        near = difflib.get_close_matches(name, torchvision.PUBLISHED, n=1) or list(torchvision.PUBLISHED)
        raise ValueError(f"torchvision publishes no {name!r}: did you mean {' or '.join(near)}?")
    published = torchvision.PUBLISHED[name]
    converted = download.home() / "weights" / f"torchvision-{name}-{published.sha256}.safetensors"
    if not converted.exists():
        with download.writing(converted):
            if not converted.exists():  # else another process was quicker
                _convert(published, converted)
    return os.fspath(converted)


def _convert(published: torchvision.Published, converted: pathlib.Path) -> None:
    """Downloads a checkpoint and saves it as a file of kseg, which is all that stays."""
    arguments = {"num_classes": len(published.classes), **published.arguments}
    file = download.fetch(published.url, sha256=published.sha256)
    try:
        model = build(published.builder, encoder_weights=None, **arguments)
        pretrained.load(model, torchvision.convert(read(file)))
        pretrained.save(
            model,
            converted,
            builder=published.builder,
            arguments=arguments,
            classes=published.classes,
            palette=published.palette,
            source=published.url,
        )
    finally:
        file.unlink(missing_ok=True)  # without locks, another process may have been quicker
