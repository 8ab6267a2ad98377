"""Checkpoints of torchvision: FCN, DeepLabV3 and LR-ASPP. The rules for each model lie beside its builder."""

import difflib
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg import download, pretrained
from kseg.checkpoints import below, read, rename, unwrapped, within
from kseg.encoders import mobilenet, resnet
from kseg.zoo import _lraspp, deeplab, fcn
from kseg.zoo._options import checks_options
from kseg.zoo.table import build

PREFIX = "torchvision/"
"""What precedes a name in `PUBLISHED` where `kseg.zoo.load` takes it."""

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor",
)  # fmt: skip


# Bits 0, 3, 6 of a label are the highest bits of red, 1, 4, 7 of green, and 2, 5 of blue.
VOC_PALETTE = tuple(
    tuple(sum((label >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3))
    for label in range(len(VOC))
)


@dataclass(frozen=True)
class Published:
    """A checkpoint published for the classes of VOC, and the kseg model that it belongs to.

    Attributes:
        url: Its address; the eight digits in the name are the first of the SHA-256.
        builder: A key of `kseg.zoo.BUILDERS`.
        arguments: Arguments of the builder.
    """

    url: str
    builder: str
    arguments: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256."""
        return download.sha256_in_name(self.url)


_FCN: dict[str, Any] = {"output_stride": 8, "dropout": 0.1}
_DEEPLAB: dict[str, Any] = {"output_stride": 8, "rates": [12, 24, 36], "dropout": 0.5, "extra_conv": True}
_MOBILENET: dict[str, Any] = {"name": "mobilenet_v3_large_torchvision", "first_blocks": True}
_DILATED: dict[str, Any] = {"output_stride": 16, "multi_grid": [1, 1, 1]}

# Trained on the images of COCO that contain classes of VOC.
PUBLISHED = {
    f"{model}_{encoder}-coco_voc": Published(
        f"https://download.pytorch.org/models/{model}_{encoder}{'' if 'mobile' in encoder else '_coco'}-{digits}.pth",
        builder,
        {"encoder": _MOBILENET if encoder == "mobilenet_v3_large" else encoder, **arguments},
    )
    for model, encoder, digits, builder, arguments in (
        ("fcn", "resnet50", "1167a1af", "fcn_dilated", _FCN),
        ("fcn", "resnet101", "7ecb50ca", "fcn_dilated", _FCN),
        ("deeplabv3", "resnet50", "cd0a2569", "deeplabv3", _DEEPLAB),
        ("deeplabv3", "resnet101", "586e9e4e", "deeplabv3", _DEEPLAB),
        ("deeplabv3", "mobilenet_v3_large", "fc3c493d", "deeplabv3", _DEEPLAB | _DILATED),
        ("lraspp", "mobilenet_v3_large", "d234d4ea", "lraspp", _DILATED),
    )
}
"""The published checkpoints by name; on a ResNet, `auxiliary=True` adds the head with which torchvision trains."""

_ARGUMENTS = {"fcn_dilated": _FCN, "deeplabv3": _DEEPLAB, "lraspp": {}}
_RULES = {"fcn_dilated": fcn.TORCHVISION, "deeplabv3": deeplab.TORCHVISION, "lraspp": _lraspp.TORCHVISION}


def convert(state: Mapping[str, np.ndarray], builder: str, *, auxiliary: bool = False) -> dict[str, np.ndarray]:
    """Converts an FCN, a DeepLabV3 or an LR-ASPP on a ResNet or a MobileNetV3-Large to the arrays of a kseg model.

    Args:
        state: `{name: array}` of a model in `torchvision.models.segmentation`.
        builder: `"fcn_dilated"`, `"deeplabv3"` or `"lraspp"`.
        auxiliary: Whether to keep the auxiliary head, which is used in training only.

    Returns:
        `{key: array}` for a model of the builder with the arguments in `PUBLISHED`.

    Raises:
        ValueError: If the auxiliary head of a MobileNet is to be kept.

    Example:
        >>> state = {"backbone.layer1.0.bn3.bias": np.ones(256), "aux_classifier.4.bias": np.ones(21)}
        >>> list(convert(state, "deeplabv3"))
        ['encoder/layer1_0_norm3/beta']
    """
    known = [*resnet.RULES, *mobilenet.rules(_MOBILENET["name"])]
    rules = [*below(known, "backbone.", "encoder/"), *_RULES[builder]]
    state = unwrapped(state, rules)
    if auxiliary and any(within(name, "backbone.0") for name in state):
        raise ValueError(
            "on a MobileNet, torchvision's auxiliary head gets the features at stride 8 and kseg's those of the stage "
            "before the last: leave auxiliary out"
        )
    return rename({name: state[name] for name in state if auxiliary or not within(name, "aux_classifier")}, rules)


@checks_options
def load(
    path: str | os.PathLike,
    builder: str,
    *,
    encoder: str,
    num_classes: int,
    part: str = "",
    without: Sequence[str] = (),
) -> pretrained.SegmentationModel:
    """Builds the kseg model of a state dict of torchvision's `fcn_resnet50` and the like, and fills it.

    `kseg.pretrained.save(model, "model.safetensors", classes=[...])` then writes a file for `kseg predict`.

    Args:
        path: A file by `torch.save`, or safetensors: a state dict, alone or in a checkpoint, of whatever wrapper; see
            `kseg.checkpoints.read`.
        builder: `"fcn_dilated"`, `"deeplabv3"` or `"lraspp"`.
        encoder: `"resnet50"`, `"resnet101"` or `"mobilenet_v3_large"`, torchvision's name of the encoder
            `"mobilenet_v3_large_torchvision"`, which may be given too.
        num_classes: Number of classes, background included.
        part: The key of the state dict, e.g. `"model_ema"`, if the file holds the model several times.
        without: Keys of other copies, e.g. `["ema"]`, if they lie beside the tensors of the model.

    Returns:
        The model, without the auxiliary head.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If there is no such option.
        ValueError: If the file or an argument cannot be read, or the tensors do not fit.
    """
    if builder not in _ARGUMENTS:
        raise ValueError(f"kseg reads {' and '.join(_ARGUMENTS)} of torchvision, not {builder!r}")
    arguments = {**_ARGUMENTS[builder], "encoder": encoder}
    if encoder in ("mobilenet_v3_large", _MOBILENET["name"]):
        arguments |= {"encoder": _MOBILENET, **_DILATED}
    model = build(builder, num_classes, encoder_weights=None, **arguments)
    pretrained.load(model, convert(read(path, part, without=without), builder))
    return model


def fetch(name: str) -> pathlib.Path:
    """Returns the file of a published checkpoint, converted to kseg's form and with the names of the classes.

    The first time, it is downloaded, verified and converted; the download is removed. Its license is printed first.

    Args:
        name: A key of `PUBLISHED`.

    Raises:
        OSError: If the download failed.
        ValueError: If there is no such checkpoint; the message names a similar one.
    """
    if name not in PUBLISHED:
        near = difflib.get_close_matches(name, PUBLISHED, n=1) or list(PUBLISHED)
        raise ValueError(f"torchvision publishes no {name!r}: did you mean {' or '.join(near)}?")
    published = PUBLISHED[name]
    converted = download.home() / "weights" / f"torchvision-{name}-{published.sha256}.safetensors"
    if not converted.exists():
        with download.writing(converted):
            if not converted.exists():  # another process may have written it meanwhile
                pretrained.print_license(PREFIX + name)
                _convert_file(published, converted)
    return converted


def _convert_file(published: Published, converted: pathlib.Path) -> None:
    file = download.fetch(published.url, sha256=published.sha256)
    try:
        model = build(published.builder, len(VOC), encoder_weights=None, **published.arguments)
        pretrained.load(model, convert(read(file), published.builder))
        pretrained.save(model, converted, classes=VOC, palette=VOC_PALETTE, source=published.url)
    finally:
        file.unlink(missing_ok=True)  # without locks, another process may have removed it
