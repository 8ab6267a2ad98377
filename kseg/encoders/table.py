"""The table of encoders: what is known about each before it is built."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import applications as nets

from kseg.encoders import (
    applications,
    bsds500,
    convnext,
    densenet,
    efficientnet_lite,
    hrnet,
    mit,
    mobilenet,
    mobilevit,
    regnet,
    resnet,
    swin,
    vgg,
    vit,
)
from kseg.encoders.applications import (
    DENSENET,
    EFFICIENTNET,
    MOBILENET_V2,
    MOBILENET_V3_LARGE,
    MOBILENET_V3_SMALL,
    RESNET,
    VGG,
)
from kseg.encoders.channels import CAFFE, IMAGENET, TO_ONE, TO_ONE_128, Normalization
from kseg.encoders.classifier import Classifier


@dataclass(frozen=True)
class Encoder:
    """What is known about an encoder before it is built.

    Attributes:
        build: Builds the encoder, with one output per stage; takes `input_shape`, `weights`, `output_stride` and
            `multi_grid` by keyword.
        channels: Number of channels of each feature, finest first.
        strides: Stride of each feature, at output stride 32. A Vision Transformer has the side of its patches only,
            however many features its option `blocks` asks for.
        floor_from: Odd sizes are rounded down from this stride on, and rounded up before it.
        exact: Whether the dilated network computes exactly the features of the strided one, at every k-th position and
            away from borders. Squeeze-and-excitation and response normalization make them approximate: dilation
            slightly changes the mean over the image. So does attention.
        classifier: The fully connected layers of the ImageNet classifier, for models that turn them into convolutions.
        weights: Functions that load other weights than ImageNet's into the built encoder, by the name under which
            `encoder_weights` takes them.
        dilates: Whether there is a form with an output stride of 8 or 16 in which strides become dilation.
        output_stride: The smallest output stride of that form.
        options: Options of `build` that an encoder given as a dictionary may contain beside its name.
        timm: Names of the models of timm that have the same tensors, and the options with which they compute the same.
        convert: Converts the tensors of these models, without their classifier, to those of the encoder.
        imagenet: The weights of timm that `"imagenet"` stands for; empty if `build` loads others.
    """

    build: Callable[..., keras.Model]
    channels: tuple[int, ...]
    strides: tuple[int, ...] = (2, 4, 8, 16, 32)
    floor_from: float = math.inf
    exact: bool = True
    classifier: Classifier | None = None
    weights: Mapping[str, Callable[[keras.Model], None]] = field(default_factory=dict)
    dilates: bool = True
    output_stride: int = 8
    options: tuple[str, ...] = ()
    timm: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    convert: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    imagenet: str = ""

    def reaches(self, output_stride: int) -> bool:
        """Returns whether there is a form with this output stride.

        Example:
            >>> ENCODERS["resnet18"].reaches(8), ENCODERS["mit_b0"].reaches(8), ENCODERS["mit_b0"].reaches(16)
            (True, False, True)
        """
        return output_stride >= (self.output_stride if self.dilates else max(self.strides))

    def sizes(self, side: int) -> dict[int, int]:
        """Computes `{stride: side length of the feature}` from the side of an image, at output stride 32.

        Example:
            >>> ENCODERS["densenet121"].sizes(65)
            {2: 33, 4: 17, 8: 8, 16: 4, 32: 2}
        """
        lengths = {stride: -(-side // stride) for stride in self.strides}
        for stride in (2, 4, 8, 16, 32):
            side = side // 2 if stride >= self.floor_from else -(-side // 2)
            lengths[stride] = side
        return {stride: lengths[stride] for stride in self.strides}

    def smallest(self, output_stride: int) -> int:
        """Computes the smallest image side, in pixels, for which no feature is empty.

        Example:
            >>> ENCODERS["vgg16"].smallest(32), ENCODERS["vgg16"].smallest(8), ENCODERS["resnet18"].smallest(32)
            (32, 8, 1)
        """
        strides = [stride for stride in self.strides if stride <= output_stride]
        return next(side for side in itertools.count(1) if all(self.sizes(side)[stride] for stride in strides))


def _lite(name: str, *channels: int) -> Encoder:
    build, convert = (
        functools.partial(each, name=name) for each in (efficientnet_lite.build, efficientnet_lite.convert)
    )
    options = efficientnet_lite.OPTIONS
    return Encoder(build, channels, options=options, timm={f"tf_{name}": {}}, convert=convert)


def _net(
    network: Callable[..., keras.Model],
    ends: tuple[str | None, ...],
    normalization: Normalization,
    *channels: int,
    **facts: Any,
) -> Encoder:
    return Encoder(functools.partial(applications.build, network, ends, normalization), channels, **facts)


def _resnet(name: str) -> Encoder:
    factor = 4 if resnet.VARIANTS[name].bottleneck else 1
    tag = resnet.IMAGENET_TIMM.get(name)
    return Encoder(
        functools.partial(resnet.build, name),
        (64, *(factor * width for width in (64, 128, 256, 512))),
        options=resnet.OPTIONS,
        timm={name: {}},
        convert=resnet.convert,
        imagenet=f"timm/{name}.{tag}" if tag else "",
    )


def _vgg_of_torchvision(name: str) -> Encoder:
    widths = vgg.VARIANTS[name].filters
    return Encoder(
        functools.partial(vgg.build, name),
        (*widths[1:], widths[-1]),
        floor_from=2,
        options=vgg.OPTIONS,
        timm={name.removesuffix("_torchvision"): {}},
        convert=functools.partial(vgg.convert, name=name),
    )


def _densenet(name: str) -> Encoder:
    return Encoder(
        functools.partial(densenet.build, name),
        densenet.VARIANTS[name].channels,
        floor_from=8,
        options=densenet.OPTIONS,
        timm={name.removesuffix("_torchvision"): {}},
        convert=densenet.convert,
    )


def _vgg(network: Callable[..., keras.Model], **facts: Any) -> Encoder:
    channels = 64, 128, 256, 512, 512
    return _net(network, VGG, CAFFE, *channels, floor_from=2, classifier=Classifier(network), **facts)


def _mobile(name: str) -> Encoder:
    variant = mobilenet.VARIANTS[name]
    timm, imagenet = mobilenet.timm_models(name)
    return Encoder(
        functools.partial(mobilenet.build, name),
        mobilenet.channels(variant),
        exact=not any(block.hidden for block in variant.blocks),
        options=mobilenet.OPTIONS,
        timm=timm,
        convert=functools.partial(mobilenet.convert, name=name),
        imagenet=imagenet,
    )


def _mit(name: str) -> Encoder:
    facts: dict[str, Any] = {"exact": False, "output_stride": 16, "options": mit.OPTIONS}
    return Encoder(functools.partial(mit.build, name), mit.VARIANTS[name][0], _FROM_4, **facts)


def _mobilevit(name: str) -> Encoder:
    return Encoder(
        functools.partial(mobilevit.build, name),
        mobilevit.VARIANTS[name][0][1:],
        exact=False,
        options=mobilevit.OPTIONS,
        timm={name: {}},
        convert=mobilevit.convert,
        imagenet=f"timm/{name}.cvnets_in1k",
    )


def _convnext(name: str) -> Encoder:
    filters, _ = convnext.VARIANTS[name]
    facts: dict[str, Any] = {"floor_from": 2, "exact": not name.startswith("convnextv2"), "options": convnext.OPTIONS}
    facts |= {"timm": {name: {}}, "convert": convnext.convert}
    facts |= {} if facts["exact"] else {"imagenet": f"timm/{name}.fcmae_ft_in1k"}
    return Encoder(functools.partial(convnext.build, name), filters, _FROM_4, **facts)


def _swin(name: str) -> Encoder:
    channels = tuple(swin.VARIANTS[name][0] * 2**stage for stage in range(4))
    facts: dict[str, Any] = {"dilates": False, "options": swin.OPTIONS, "convert": swin.convert}
    return Encoder(functools.partial(swin.build, name), channels, _FROM_4, timm=swin.TIMM_MODELS[name], **facts)


def _regnet(name: str) -> Encoder:
    timm: dict[str, dict[str, Any]] = {name: {}}
    if name in regnet.TORCHVISION_FILTERS:
        timm[f"{name}_tv"] = {"filters": list(regnet.TORCHVISION_FILTERS[name])}
    return Encoder(
        functools.partial(regnet.build, name),
        (regnet.STEM, *regnet.VARIANTS[name][0]),
        exact=False,
        options=regnet.OPTIONS,
        timm=timm,
        convert=regnet.convert,
        imagenet=f"timm/{name}.{regnet.IMAGENET_TIMM[name]}",
    )


def _hrnet(name: str) -> Encoder:
    return Encoder(
        functools.partial(hrnet.build, name),
        (64, *hrnet.HEADS),
        dilates=False,
        options=hrnet.OPTIONS,
        timm={name: {}},
        convert=hrnet.convert,
        imagenet=f"timm/{name}.{hrnet.IMAGENET_TIMM[name]}",
    )


def _vit(name: str) -> Encoder:
    known = vit.options(name)
    build = functools.partial(vit.build, name)
    return Encoder(build, (known["filters"],), (known["patch"],), dilates=False, options=vit.OPTIONS)


_FROM_4 = (4, 8, 16, 32)

# A plain name is a network of kseg, or of Keras Applications where kseg has none. A suffix marks another network of the
# same name: `_v1` the ResNets of Keras Applications, `_torchvision` networks of kseg that pad as PyTorch does.
ENCODERS: dict[str, Encoder] = {
    "efficientnet_lite0": _lite("efficientnet_lite0", 32, 24, 40, 112, 320),
    "efficientnet_lite1": _lite("efficientnet_lite1", 32, 24, 40, 112, 320),
    "efficientnet_lite2": _lite("efficientnet_lite2", 32, 24, 48, 120, 352),
    "vgg16": _vgg(nets.VGG16, weights={bsds500.NAME: bsds500.load}),
    "vgg19": _vgg(nets.VGG19),
    **{name: _resnet(name) for name in resnet.VARIANTS},
    "resnet50_v1": _net(nets.ResNet50, RESNET, CAFFE, 64, 256, 512, 1024, 2048),
    "resnet101_v1": _net(nets.ResNet101, RESNET, CAFFE, 64, 256, 512, 1024, 2048),
    "resnet152_v1": _net(nets.ResNet152, RESNET, CAFFE, 64, 256, 512, 1024, 2048),
    "mobilenet_v2": _net(nets.MobileNetV2, MOBILENET_V2, TO_ONE, 16, 24, 32, 96, 320),
    "mobilenet_v3_small": _net(nets.MobileNetV3Small, MOBILENET_V3_SMALL, TO_ONE, 16, 16, 24, 48, 576, exact=False),
    "mobilenet_v3_large": _net(nets.MobileNetV3Large, MOBILENET_V3_LARGE, TO_ONE, 16, 24, 40, 112, 960, exact=False),
    "efficientnet_b0": _net(nets.EfficientNetB0, EFFICIENTNET, IMAGENET, 16, 24, 40, 112, 320, exact=False),
    "efficientnet_b1": _net(nets.EfficientNetB1, EFFICIENTNET, IMAGENET, 16, 24, 40, 112, 320, exact=False),
    "efficientnet_b2": _net(nets.EfficientNetB2, EFFICIENTNET, IMAGENET, 16, 24, 48, 120, 352, exact=False),
    "efficientnet_b3": _net(nets.EfficientNetB3, EFFICIENTNET, IMAGENET, 24, 32, 48, 136, 384, exact=False),
    "efficientnet_b4": _net(nets.EfficientNetB4, EFFICIENTNET, IMAGENET, 24, 32, 56, 160, 448, exact=False),
    "efficientnet_b5": _net(nets.EfficientNetB5, EFFICIENTNET, IMAGENET, 24, 40, 64, 176, 512, exact=False),
    "efficientnet_b6": _net(nets.EfficientNetB6, EFFICIENTNET, IMAGENET, 32, 40, 72, 200, 576, exact=False),
    "efficientnet_b7": _net(nets.EfficientNetB7, EFFICIENTNET, IMAGENET, 32, 48, 80, 224, 640, exact=False),
    "efficientnet_v2_b0": _net(nets.EfficientNetV2B0, EFFICIENTNET, IMAGENET, 16, 32, 48, 112, 192, exact=False),
    "efficientnet_v2_b1": _net(nets.EfficientNetV2B1, EFFICIENTNET, IMAGENET, 16, 32, 48, 112, 192, exact=False),
    "efficientnet_v2_b2": _net(nets.EfficientNetV2B2, EFFICIENTNET, IMAGENET, 16, 32, 56, 120, 208, exact=False),
    "efficientnet_v2_b3": _net(nets.EfficientNetV2B3, EFFICIENTNET, IMAGENET, 16, 40, 56, 136, 232, exact=False),
    "efficientnet_v2_s": _net(nets.EfficientNetV2S, EFFICIENTNET, TO_ONE_128, 24, 48, 64, 160, 256, exact=False),
    "efficientnet_v2_m": _net(nets.EfficientNetV2M, EFFICIENTNET, TO_ONE_128, 24, 48, 80, 176, 512, exact=False),
    "efficientnet_v2_l": _net(nets.EfficientNetV2L, EFFICIENTNET, TO_ONE_128, 32, 64, 96, 224, 640, exact=False),
    "densenet121": _net(nets.DenseNet121, DENSENET, IMAGENET, 64, 256, 512, 1024, 1024, floor_from=8),
    "densenet169": _net(nets.DenseNet169, DENSENET, IMAGENET, 64, 256, 512, 1280, 1664, floor_from=8),
    "densenet201": _net(nets.DenseNet201, DENSENET, IMAGENET, 64, 256, 512, 1792, 1920, floor_from=8),
    **{name: _mobile(name) for name in mobilenet.VARIANTS},
    **{name: _vgg_of_torchvision(name) for name in vgg.VARIANTS},
    **{name: _densenet(name) for name in densenet.VARIANTS},
    **{name: _regnet(name) for name in regnet.VARIANTS},
    **{name: _hrnet(name) for name in hrnet.VARIANTS},
    **{name: _convnext(name) for name in convnext.VARIANTS},
    **{name: _mobilevit(name) for name in mobilevit.VARIANTS},
    **{name: _mit(name) for name in mit.VARIANTS},
    **{name: _swin(name) for name in swin.VARIANTS},
    **{name: _vit(name) for name in vit.VARIANTS},
}
