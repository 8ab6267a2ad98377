"""Encoders: an image to features at several strides, with weights from ImageNet.

Every encoder is a functional `keras.Model` named `encoder`. It takes an image of any height and width with values from
0 to 255, which its first layer normalises, and returns a list of features, finest first.
"""

import difflib
import functools
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
from keras import applications as nets

from kseg import pretrained
from kseg.encoders import applications, bsds500, efficientnet_lite, resnet
from kseg.encoders.applications import (
    CAFFE,
    CONVNEXT,
    DENSENET,
    EFFICIENTNET,
    IMAGENET,
    MOBILENET_V2,
    MOBILENET_V3_LARGE,
    MOBILENET_V3_SMALL,
    RESNET,
    TO_ONE,
    TO_ONE_128,
    VGG,
)

__all__ = ["ENCODERS", "Encoder", "EncoderLike", "extract"]

EncoderLike: TypeAlias = str | keras.Model | Callable[[keras.KerasTensor], Mapping[int, keras.KerasTensor]]


@dataclass(frozen=True)
class Encoder:
    """What is known of an encoder before it is built.

    Attributes:
        build: Builds it, given input_shape, weights, output_stride, multi_grid and penultimate by keyword.
        channels: Of each feature, finest first.
        strides: Of each feature, at output stride 32.
        floor_from: The first stride on the way to which odd sizes are rounded down; before it they are rounded up.
        exact: Whether dilation gives the very features of the strided network, at every k-th position and away from
            borders. Otherwise they are near: squeeze-and-excitation takes the mean of the whole image, which dilation
            changes a little.
    """

    build: Callable[..., keras.Model]
    channels: tuple[int, ...]
    strides: tuple[int, ...] = (2, 4, 8, 16, 32)
    floor_from: float = math.inf
    exact: bool = True

    def sizes(self, side: int) -> dict[int, int]:
        """Says how long a side of each feature is.

        Args:
            side: Height or width of the image.

        Returns:
            `{stride: length}`, at output stride 32.

        Example:
            >>> ENCODERS["densenet121"].sizes(65)
            {2: 33, 4: 17, 8: 8, 16: 4, 32: 2}
        """
        lengths = {}
        for stride in (2, 4, 8, 16, 32):
            side = side // 2 if stride >= self.floor_from else -(-side // 2)
            lengths[stride] = side
        return {stride: lengths[stride] for stride in self.strides}

    def smallest(self, output_stride: int) -> int:
        """Says how long the shortest side is that leaves a pixel of every feature.

        Example:
            >>> ENCODERS["vgg16"].smallest(32), ENCODERS["vgg16"].smallest(8), ENCODERS["resnet18"].smallest(32)
            (32, 8, 1)
        """
        strides = [stride for stride in self.strides if stride <= output_stride]
        return next(side for side in itertools.count(1) if all(self.sizes(side)[stride] for stride in strides))


def _lite(name: str, *channels: int) -> Encoder:
    return Encoder(functools.partial(efficientnet_lite.efficientnet_lite, name), channels)


def _resnet(name: str, *channels: int) -> Encoder:
    return Encoder(functools.partial(resnet.resnet, name), channels)


def _net(
    network: Callable, ends: tuple, constants: applications.Normalization, *channels: int, **facts: Any
) -> Encoder:
    return Encoder(functools.partial(applications.build, network, ends, constants), channels, **facts)


_FROM_4: dict[str, Any] = {"strides": (4, 8, 16, 32), "floor_from": 2}

ENCODERS: dict[str, Encoder] = {
    "efficientnet_lite0": _lite("efficientnet_lite0", 32, 24, 40, 112, 320),
    "efficientnet_lite1": _lite("efficientnet_lite1", 32, 24, 40, 112, 320),
    "efficientnet_lite2": _lite("efficientnet_lite2", 32, 24, 48, 120, 352),
    "vgg16": _net(nets.VGG16, VGG, CAFFE, 64, 128, 256, 512, 512, floor_from=2),
    "vgg19": _net(nets.VGG19, VGG, CAFFE, 64, 128, 256, 512, 512, floor_from=2),
    "resnet18": _resnet("resnet18", 64, 64, 128, 256, 512),
    "resnet34": _resnet("resnet34", 64, 64, 128, 256, 512),
    "resnet50": _resnet("resnet50", 64, 256, 512, 1024, 2048),
    "resnet101": _resnet("resnet101", 64, 256, 512, 1024, 2048),
    "resnet152": _resnet("resnet152", 64, 256, 512, 1024, 2048),
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
    "convnext_tiny": _net(nets.ConvNeXtTiny, CONVNEXT, IMAGENET, 96, 192, 384, 768, **_FROM_4),
    "convnext_small": _net(nets.ConvNeXtSmall, CONVNEXT, IMAGENET, 96, 192, 384, 768, **_FROM_4),
    "convnext_base": _net(nets.ConvNeXtBase, CONVNEXT, IMAGENET, 128, 256, 512, 1024, **_FROM_4),
    "convnext_large": _net(nets.ConvNeXtLarge, CONVNEXT, IMAGENET, 192, 384, 768, 1536, **_FROM_4),
}


def extract(
    image: keras.KerasTensor,
    encoder: EncoderLike,
    *,
    weights: str | os.PathLike | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
    penultimate: bool = False,
) -> dict[Any, keras.KerasTensor]:
    """Builds an encoder and calls it on an image.

    Args:
        image: `(N, H, W, C)`, values 0 to 255, any H, W and C. With C other than 3 the first convolution is adapted,
            see `kseg.encoders.channels`.
        encoder: A name in `ENCODERS`; or a `keras.Model` from an image to features, whose strides are read off their
            sizes; or a function `image -> {stride: feature}`. The last two normalise by themselves.
        weights: `"imagenet"`, None for random weights, or a file for `kseg.pretrained.load`. Of an encoder of your own
            only a file is loaded. `"imagenet+bsds500"` is there for `"vgg16"`, see `kseg.encoders.bsds500`.
        output_stride: 8, 16 or 32: the greatest stride. Strides beyond it become dilation.
        multi_grid: Factors on the dilation of the last spatial convolutions, e.g. DeepLabV3's (1, 2, 4).
        penultimate: Whether the last stage but one is wanted too, which has the stride of the last one where strides
            have become dilation. Of an encoder of your own it is the last feature but one.

    Returns:
        `{stride: feature}`, strides ascending, and `"penultimate"` at the end if wanted. The sub-model of the result
        is named `encoder`.

    Raises:
        ValueError: An unknown encoder, weights that do not exist, an output stride that the encoder cannot give, or an
            image that is too small for it.

    Example:
        >>> image = keras.Input((65, 97, 3))
        >>> features = extract(image, "mobilenet_v2", weights=None, output_stride=16)
        >>> {stride: tuple(feature.shape[1:]) for stride, feature in features.items()}
        {2: (33, 49, 16), 4: (17, 25, 24), 8: (9, 13, 32), 16: (5, 7, 320)}
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
    if isinstance(encoder, str):
        if encoder not in ENCODERS:
            near = difflib.get_close_matches(encoder, ENCODERS, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(ENCODERS)}"
            raise ValueError(f"unknown encoder {encoder!r}; {hint}")
        known = ENCODERS[encoder]
        smallest = known.smallest(output_stride)
        model = known.build(
            input_shape=tuple(image.shape[1:]),
            weights="imagenet" if weights == "imagenet" else None,
            output_stride=output_stride,
            multi_grid=multi_grid or (),
            penultimate=penultimate,
            **({"smallest": smallest} if smallest > 1 else {}),
        )
        strides: list[Any] = [stride for stride in known.strides if stride < output_stride]
        strides += ["penultimate", output_stride] if penultimate and output_stride < 32 else [output_stride]
    else:
        if multi_grid:
            raise ValueError("multi_grid is for encoders by name: dilate your own encoder yourself")
        model, strides = _wrap(encoder, image.shape[1:])
        if max(strides) > output_stride:
            raise ValueError(f"output_stride={output_stride}, but your own encoder ends at stride {max(strides)}")
    if weights == bsds500.NAME:
        if encoder != "vgg16":
            raise ValueError(f'the weights "{bsds500.NAME}" are for the encoder "vgg16", not for {encoder!r}')
        bsds500.load(model, image.shape[-1])
    elif weights not in (None, "imagenet"):
        if not os.path.exists(weights):
            raise ValueError(f'weights must be "imagenet", None or a file, but there is no file {os.fspath(weights)!r}')
        pretrained.load(model, weights)
    features = dict(zip(strides, model(image), strict=True))
    if penultimate:
        if len(features) == 1:
            raise ValueError("an encoder with a single feature has no last stage but one")
        features["penultimate"] = features.pop("penultimate", list(features.values())[-2])  # to the end
    return features


def require(features: Mapping[Any, keras.KerasTensor], strides: Sequence[int], builder: str) -> None:
    """Refuses an encoder that lacks what a builder needs.

    Args:
        features: What `extract` returned.
        strides: The strides that the builder takes.
        builder: Its name, for the message.

    Raises:
        ValueError: A stride is missing.
    """
    if missing := sorted(set(strides) - features.keys()):
        raise ValueError(f"{builder} needs features at stride {missing}, but the encoder gives {list(features)}")


def _wrap(encoder: keras.Model | Callable, shape: tuple) -> tuple[keras.Model, list[int]]:
    """Makes a model named `encoder` with a list of outputs, finest first, out of what the user brought."""
    image = keras.Input(shape, name="image")
    features = encoder(image)
    if isinstance(encoder, keras.Model):
        # Strides show on a trial of a size that they divide; small odd ones mislead.
        free = None in encoder.input_shape[1:3]
        trial = encoder(keras.Input((256, 256, shape[2]))) if free else features
        side = 256 if free else shape[0]
        strides = [2 ** round(math.log2(side / feature.shape[1])) for feature in keras.tree.flatten(trial)]
        if len(set(strides)) < len(strides):
            raise ValueError(
                f"features of your encoder share a stride: {strides}; give the finest of each, or images of any size"
            )
        features = dict(zip(strides, keras.tree.flatten(features), strict=True))
    elif not isinstance(features, Mapping) or not all(isinstance(stride, int) for stride in features):
        raise ValueError(f"an encoder function must return {{stride: feature}} with whole strides, got {features!r}")
    strides = sorted(features)
    return keras.Model(image, [features[stride] for stride in strides], name="encoder"), strides
