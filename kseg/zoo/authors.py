"""Checkpoints of the repositories of papers' authors. The rules for each model lie beside its builder."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg import pretrained
from kseg.checkpoints import read
from kseg.zoo import _pidnet, _swiftnet
from kseg.zoo._options import checks_options
from kseg.zoo.table import build

CITYSCAPES = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100), "train": (0, 80, 100),
    "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}  # fmt: skip
"""The classes of Cityscapes in the order of their ids, and their colors."""

CAMVID = {
    "sky": (128, 128, 128), "building": (128, 0, 0), "pole": (192, 192, 128), "road": (128, 64, 128),
    "pavement": (60, 40, 222), "tree": (128, 128, 0), "sign": (192, 128, 128), "fence": (64, 64, 128),
    "car": (64, 0, 128), "pedestrian": (64, 64, 0), "bicyclist": (0, 128, 192),
}  # fmt: skip
"""The classes of CamVid, and their colors. Their order differs between repositories."""


@dataclass(frozen=True)
class Repository:
    """The repository of the authors of a paper.

    Attributes:
        convert: Returns the arguments of the builder and its arrays for a state dict.
        camvid: The classes of CamVid in the order of their ids there.
    """

    convert: Callable[..., tuple[dict[str, Any], dict[str, np.ndarray]]]
    camvid: tuple[str, ...]


REPOSITORIES = {
    "swiftnet": Repository(
        _swiftnet.convert,
        ("building", "tree", "sky", "car", "sign", "road", "pedestrian", "fence", "pole", "pavement", "bicyclist"),
    ),
    "pidnet": Repository(
        _pidnet.convert,
        ("bicyclist", "building", "car", "pole", "fence", "pedestrian", "road", "pavement", "sign", "sky", "tree"),
    ),
}
"""The repositories, by the name of the builder."""


@checks_options
def load(
    path: str | os.PathLike,
    builder: str,
    *,
    classes: Sequence[str] | None = None,
    auxiliary: bool = False,
    part: str = "",
    without: Sequence[str] = (),
) -> pretrained.SegmentationModel:
    """Builds the kseg model of a checkpoint from the authors of its paper, and fills it; the tensors tell its options.

    `kseg.pretrained.save(model, "model.safetensors")` then writes a file for `kseg predict`, with the class names.

    Args:
        path: A file by `torch.save`, or safetensors: a state dict, alone or in a checkpoint, of whatever wrapper; see
            `kseg.checkpoints.read`.
        builder: `"swiftnet"`: SwiftNet on ResNet-18 or ResNet-34 of https://github.com/orsic/swiftnet, with one size of
            the image or a pyramid. (The version of 2019 reduced the image by Pillow before the network, which blurs
            it: its pyramids give slightly other scores here.) Or `"pidnet"`: PIDNet-S, -M and -L of
            https://github.com/XuJiacong/PIDNet, trained on Cityscapes or CamVid; its ImageNet weights are for
            `kseg.zoo.pidnet(encoder_weights=FILE)`.
        classes: Names of the classes in the order of their ids; `()` for none. By default, a model with 19 classes gets
            those of Cityscapes, and one with 11 those of CamVid in the order of the authors' repository, with their
            colors; stderr gets a line that says so.
        auxiliary: Whether to keep PIDNet's heads that are used in training only.
        part: The key of the state dict, if the file holds the model several times.
        without: Keys of other copies, if they lie beside the tensors of the model.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If there is no such option.
        ValueError: If the file cannot be read, the tensors do not fit, or the number of class names differs from that
            of the classes.
    """
    if builder not in REPOSITORIES:
        raise ValueError(f"kseg reads authors' checkpoints of {' and '.join(REPOSITORIES)}, not of {builder!r}")
    repository = REPOSITORIES[builder]
    arguments, arrays = repository.convert(read(path, part, without=without), auxiliary=auxiliary)
    count = arguments["num_classes"]
    if classes and len(classes) != (needed := max(count, 2)):
        raise ValueError(f"classes has {len(classes)} names, but {path} has num_classes={count}: give {needed}")
    model = build(builder, **arguments, encoder_weights=None)
    pretrained.load(model, arrays)
    camvid = {name: CAMVID[name] for name in repository.camvid}
    datasets = {len(CITYSCAPES): ("Cityscapes", CITYSCAPES), len(CAMVID): ("CamVid", camvid)}
    if classes is not None or count not in datasets:
        return pretrained.SegmentationModel.of(model, classes=tuple(classes or ()))
    name, colors = datasets[count]
    print(f"{path} has {count} classes: they get the names of {name}; classes= gives others", file=sys.stderr)
    return pretrained.SegmentationModel.of(model, classes=tuple(colors), palette=tuple(colors.values()))
