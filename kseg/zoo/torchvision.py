"""Checkpoints of torchvision: ImageNet's ResNets, FCN and DeepLabV3 on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kseg.checkpoints import Rules, below, rename, within
from kseg.encoders import resnet

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor",
)  # fmt: skip


def _voc_colour(label: int) -> tuple[int, int, int]:
    """VOC's palette: bits 0, 3, 6 of the label make red's highest bits, 1, 4, 7 green's and 2, 5 blue's."""
    red, green, blue = (
        sum((label >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
    )
    return red, green, blue


@dataclass(frozen=True)
class Published:
    """A checkpoint with its address, and the kseg model that it fills.

    Attributes:
        url: Where it is; the eight digits in its name are the first of its SHA-256.
        builder: A key of `kseg.zoo.BUILDERS`.
        arguments: For the builder.
        classes: In the order of their ids.
        palette: (R, G, B) of each.
    """

    url: str
    builder: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...] = VOC
    palette: tuple[tuple[int, int, int], ...] = field(default=tuple(_voc_colour(label) for label in range(len(VOC))))

    @property
    def sha256(self) -> str:
        """How the file's SHA-256 begins.

        Example:
            >>> PUBLISHED["fcn_resnet50-coco_voc"].sha256
            '1167a1af'
        """
        return self.url.rpartition("-")[2].removesuffix(".pth")


def fcn_arguments(encoder: str) -> dict[str, Any]:
    """Arguments with which `kseg.zoo.fcn_dilated` is torchvision's FCN.

    Args:
        encoder: `"resnet50"` or `"resnet101"`.

    Returns:
        All but the class count; `auxiliary=True` adds the head that torchvision trains with.
    """
    return {"encoder": encoder, "output_stride": 8, "dropout": 0.1}


def deeplabv3_arguments(encoder: str) -> dict[str, Any]:
    """Arguments with which `kseg.zoo.deeplabv3` is torchvision's.

    Args:
        encoder: `"resnet50"` or `"resnet101"`.

    Returns:
        All but the class count; `auxiliary=True` adds the head that torchvision trains with.
    """
    return {"encoder": encoder, "output_stride": 8, "rates": list(RATES), "dropout": 0.5, "extra_conv": True}


RATES = (12, 24, 36)

_ADDRESS = "https://download.pytorch.org/models/"

# Trained on the images of COCO that show VOC's classes.
PUBLISHED = {
    f"{model}_{encoder}-coco_voc": Published(f"{_ADDRESS}{model}_{encoder}_coco-{digits}.pth", builder, arguments)
    for model, encoder, digits, builder, arguments in (
        ("fcn", "resnet50", "1167a1af", "fcn_dilated", fcn_arguments("resnet50")),
        ("fcn", "resnet101", "7ecb50ca", "fcn_dilated", fcn_arguments("resnet101")),
        ("deeplabv3", "resnet50", "cd0a2569", "deeplabv3", deeplabv3_arguments("resnet50")),
        ("deeplabv3", "resnet101", "586e9e4e", "deeplabv3", deeplabv3_arguments("resnet101")),
    )
}


def aspp(branches: int = 3, separable: bool = False) -> Rules:
    """The modules of the pyramid, which torchvision and segmentation-models-pytorch call alike.

    Args:
        branches: Number of the 3x3 convolutions.
        separable: Whether their convolutions are.

    Returns:
        Rules for `kseg.layers.ASPP`.
    """
    rules = [(r"convs\.0\.0", "point/conv"), (r"convs\.0\.1", "point/norm")]
    for index in range(1, branches + 1):
        if separable:
            rules.append((rf"convs\.{index}\.0\.0", f"branch_{index}/depthwise"))
            rules.append((rf"convs\.{index}\.0\.1", f"branch_{index}/conv"))
        else:
            rules.append((rf"convs\.{index}\.0", f"branch_{index}/conv"))
        rules.append((rf"convs\.{index}\.1", f"branch_{index}/norm"))
    last = branches + 1
    rules += [(rf"convs\.{last}\.1", "image/conv"), (rf"convs\.{last}\.2", "image/norm")]
    return [*rules, (r"project\.0", "project/conv"), (r"project\.1", "project/norm")]


_LIGHT_HEAD = ((r"0", "classifier/conv"), (r"1", "classifier/norm"), (r"4", "head/conv"))

_AUXILIARY = (
    (r"aux_classifier\.0", "auxiliary_classifier/conv"),
    (r"aux_classifier\.1", "auxiliary_classifier/norm"),
    (r"aux_classifier\.4", "auxiliary/conv"),
)

_DEEPLAB_HEAD = (
    *below(aspp(), "0.", "aspp/"),
    (r"1", "refine/conv"),
    (r"2", "refine/norm"),
    (r"4", "head/conv"),
)


def convert(state: Mapping[str, np.ndarray], *, auxiliary: bool = False) -> dict[str, np.ndarray]:
    """Turns an FCN or a DeepLabV3 on a ResNet into a kseg model's arrays.

    Args:
        state: `{name: array}` of `fcn_resnet50`, `fcn_resnet101`, `deeplabv3_resnet50` or `deeplabv3_resnet101`.
        auxiliary: Whether to keep the auxiliary head, which serves for training only.

    Returns:
        `{key: array}` for `kseg.zoo.fcn_dilated` or `kseg.zoo.deeplabv3` with the arguments of `PUBLISHED`.

    Example:
        >>> list(convert({"backbone.layer1.0.bn3.bias": np.ones(256), "aux_classifier.4.bias": np.ones(21)}))
        ['encoder/layer1_0_norm3/beta']
    """
    pyramid = any(within(name, "classifier.0.convs") for name in state)
    rules = [
        *below(resnet.RULES, "backbone.", "encoder/"),
        *below(_DEEPLAB_HEAD if pyramid else _LIGHT_HEAD, "classifier.", ""),
        *_AUXILIARY,
    ]
    return rename(
        {name: array for name, array in state.items() if auxiliary or not within(name, "aux_classifier")}, rules
    )
