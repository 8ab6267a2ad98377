"""The table of the encoders of segmentation-models-pytorch, and the rules for their tensors."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kseg import encoders
from kseg.checkpoints import Rules, below
from kseg.encoders import convnext, densenet, hrnet, mit, mobilenet, regnet, resnet, swin, vgg, vit
from kseg.encoders.channels import IMAGENET, TO_ONE

State: TypeAlias = Mapping[str, np.ndarray]

NOTHING = "(?!)"
"""An expression that matches no layer."""


@dataclass(frozen=True)
class Encoder:
    """An encoder of segmentation-models-pytorch that is also in `kseg.encoders.ENCODERS`.

    Attributes:
        name: The argument `encoder` of builders: its name there, or a dictionary with options.
        rules: From its modules to the layers of the encoder.
        left_out: Patterns for the layers beyond the depths 3 and 4, whose tensors the library stores but does not use.
        dilated: The number of spatial convolutions from the first stage that is dilated on, if their first one is
            dilated like the others, or the factors of their dilation rates, at an output stride; None if the library
            cannot dilate it.
        least: The least output stride at which kseg computes the same.
        empty: Whether its feature at stride 2 has no channels.
        tokens: Whether it is a Vision Transformer, which only DPT has.
        sized: For networks of images of one size, the option `img_size` there: kseg computes the same only if both
            sides are multiples of this number, because timm pads windows after the shift. 0 for other networks.
        apart: Converts the tensors before they are renamed.
        joined: The opposite of `apart`.
        unused: Names and shapes of tensors that the library stores but does not use.
    """

    name: str | dict[str, Any]
    rules: Rules
    left_out: Mapping[int, str] = field(default_factory=dict)
    dilated: Callable[[int], int | Sequence[int]] | None = None
    least: int = 8
    empty: bool = False
    tokens: bool = False
    sized: int = 0
    apart: Callable[[State], State] = lambda state: state
    joined: Callable[[State], State] = lambda state: state
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The name without options."""
        return str(self.name["name"]) if isinstance(self.name, dict) else self.name


IMAGENET_TAGS = ("dino", "mae")
"""Weights of timm's Vision Transformers that expect ImageNet's mean and standard deviation, unlike Google's."""


def canonical(name: Any) -> Any:
    """Returns the name of an encoder in `ENCODERS`: the present name for a former one, and without a tag of timm.

    A tag stays where the weights expect another normalization than the others.

    Example:
        >>> canonical("tu-resnet18.a1_in1k"), canonical("timm-mobilenetv3_large_100"), canonical("timm-regnety_002")
        ('tu-resnet18', 'tu-tf_mobilenetv3_large_100', 'tu-regnety_002')
        >>> canonical("tu-vit_base_patch16_224.dino")
        'tu-vit_base_patch16_224.dino'
    """
    if not isinstance(name, str):
        return name
    name = re.sub("^timm-(?=regnet)", "tu-", re.sub("^timm-(?=mobilenetv3)", "tu-tf_", name))
    plain, _, tag = name.partition(".")
    return plain if plain.startswith("tu-") and tag not in IMAGENET_TAGS else name


def _resnet(name: str) -> Encoder:
    def dilated(stride: int) -> int:
        variant = resnet.VARIANTS[name]
        return sum(variant.depths[2 if stride == 8 else 3 :]) * variant.spatial

    return Encoder(name, resnet.RULES, {3: "layer[34]_", 4: "layer4_"}, dilated)


def _mit(name: str) -> Encoder:
    def dilated(stride: int) -> int:
        _, depths = mit.VARIANTS[name]
        return sum(1 + depth for depth in depths[2 if stride == 8 else 3 :])

    left_out = {3: "stage[34]_", 4: "stage4_"}
    return Encoder(name, mit.ORIGINAL, left_out, dilated, empty=True, apart=mit.apart, joined=mit.joined)


def _vgg(name: str) -> Encoder:
    return Encoder(name, below(vgg.rules(name), "features.", ""), {3: "block5_"})


def _densenet(name: str) -> Encoder:
    left_out = {3: "block[34]_|transition2_conv|transition3_|norm5", 4: "block4_|transition3_conv|norm5"}
    return Encoder(name, below(densenet.RULES, "features.", ""), left_out)


def _vit(size: str, side: int, tag: str = "") -> dict[str, Encoder]:
    constants = IMAGENET if tag else TO_ONE
    options = {"grid": side // 16, "mean": list(constants.mean), "std": list(constants.std)}
    encoder = Encoder(
        vit.shortest({**vit.options(f"vit_{size}"), **options}),
        below([rule for rule in vit.TIMM if rule[1] != "norm"], "model.", ""),
        tokens=True,
        apart=vit.apart,
        joined=vit.joined,
    )
    return {f"tu-vit_{size}_patch16_{side}{tag and f'.{tag}'}": encoder}


def _mobile(name: str, rules: Rules, features: list[int], head: str = "", **options: Any) -> Encoder:
    """An encoder of `kseg.encoders.mobilenet`, and how the names of its unused last convolution begin."""
    variant = mobilenet.VARIANTS[name]
    last = ("conv_head", "bn2") if head == "timm" else ("_conv_head", "_bn1")
    strides = _strides(variant)

    beyond = {depth: "|".join(map(str, range(features[depth - 1] + 1, len(variant.blocks) + 1))) for depth in (3, 4)}
    left_out = {depth: rf"block({numbers})_|last_" for depth, numbers in beyond.items()}

    def dilated(stride: int) -> Sequence[int]:
        if options.get("padding") != "static":
            return [1] * sum(each > stride for each in strides)
        # The library dilates all blocks behind a feature, also those that have its stride.
        factors = [2 if each == 16 else 1 for each in strides[features[3] :]]
        return [1] * (features[3] - features[2]) * (stride == 8) + factors

    unused: dict[str, tuple[int, ...]] = {}
    if head:
        width = variant.blocks[-1].filters
        count = _HEADS.get(name, 1280)
        unused = {f"{last[0]}.weight": (count, width, 1, 1)}
        unused |= {f"{last[1]}.{leaf}": (count,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return Encoder({"name": name, "features": features, **options}, rules, left_out, dilated, unused=unused)


_HEADS = {
    f"efficientnet_b{number}_timm": count
    for number, count in enumerate((1280, 1280, 1408, 1536, 1792, 2048, 2304, 2560))
}


def _strides(variant: Any) -> list[int]:
    strides = [2]
    for block in variant.blocks:
        strides.append(strides[-1] * block.strides)
    return strides[1:]


_HALF = {"mean": [127.5] * 3, "std": [127.5] * 3}

# The numbers of the blocks, from 0, whose outputs are the features at strides 4 to 32.
_ENDS = (
    (2, 4, 8, 15), (4, 7, 15, 22), (4, 7, 15, 22), (4, 7, 17, 25), (5, 9, 21, 31), (7, 12, 26, 38), (8, 14, 30, 44),
    (10, 17, 37, 54),
)  # fmt: skip


def _efficientnets() -> dict[str, Encoder]:
    rows = {}
    for number, ends in enumerate(_ENDS):
        name = f"efficientnet_b{number}_timm"
        rows[f"efficientnet-b{number}"] = _mobile(
            name,
            mobilenet.efficientnet_pytorch(name),
            [0, *(end + 1 for end in ends)],
            "pytorch",
            padding="static",
            epsilon=1e-3,
        )
        features = [0, *mobilenet.last_blocks(mobilenet.VARIANTS[name])[1:]]
        rows[f"timm-efficientnet-b{number}"] = _mobile(name, mobilenet.timm_rules(name), features, "timm")
    for number in range(5):
        name = f"efficientnet_lite{number}_timm"
        features = [0, *mobilenet.last_blocks(mobilenet.VARIANTS[name])[1:]]
        rows[f"timm-tf_efficientnet_lite{number}"] = _mobile(
            name, mobilenet.timm_rules(name), features, "timm", **_HALF
        )
    return rows


_CONVOLUTIONS = ("convnextv2_atto", "convnextv2_femto", "convnextv2_pico", "convnextv2_nano")


def _universal() -> dict[str, Encoder]:
    """The encoders `tu-NAME`: models of timm with `features_only=True`, in whose form kseg dilates too."""
    rows = {}
    for name, entry in encoders.ENCODERS.items():
        facts: dict[str, Any] = {"dilated": None if name in hrnet.VARIANTS else lambda stride: []}
        if name in resnet.VARIANTS:
            rules = resnet.DEEP_RULES if resnet.VARIANTS[name].deep else resnet.RULES
        elif name in mobilenet.VARIANTS:
            rules = mobilenet.timm_rules(name)
        elif name in regnet.VARIANTS or name in hrnet.VARIANTS:
            rules = (regnet if name in regnet.VARIANTS else hrnet).RULES
        elif name in vgg.VARIANTS or name in densenet.VARIANTS:
            known = vgg.rules(name) if name in vgg.VARIANTS else densenet.RULES
            rules, facts["dilated"] = [(f"features_{pattern}", path) for pattern, path in known], None
        elif name in convnext.VARIANTS:
            rules = [(re.sub(r"^(stem|stages)\\\.", r"\1_", pattern), path) for pattern, path in convnext.TIMM]
            joined = functools.partial(_convnext_joined, convolutions=name in _CONVOLUTIONS)
            facts |= {"empty": True, "least": 16, "apart": _convnext_apart, "joined": joined}
        elif name in swin.VARIANTS:
            rules = [(re.sub(r"^layers\\\.", "layers_", pattern), path) for pattern, path in swin.TIMM]
            facts |= {"empty": True, "apart": swin.apart, "joined": swin.joined, "dilated": None}
        else:
            continue
        both = [*below(rules, "model.", ""), *rules]  # former encoders have no `model.`
        for model, options in entry.timm.items():
            half = model.startswith(("tf_mobilenetv3", "tf_efficientnet_lite")) or model == "efficientnet_b1"
            given = {**options, **(_HALF if half else {})}
            if "feature_norms" in entry.options:
                given["feature_norms"] = False
            if name in swin.VARIANTS:
                facts["sized"] = 32 * int(given.get("window", 7))
            rows[f"tu-{model}"] = Encoder({"name": name, **given} if given else name, both, **facts)
    return rows


def _convnext_apart(state: State) -> State:
    """Gives the factors of response normalization their axes, and convolutions of 1x1 the form of dense layers."""
    found = {}
    for name, array in state.items():
        if name.endswith((".grn.weight", ".grn.bias")):
            array = array.reshape(1, 1, 1, -1)
        elif name.endswith((".fc1.weight", ".fc2.weight")):
            array = array.reshape(array.shape[:2])
        found[name] = array
    return found


def _convnext_joined(state: State, *, convolutions: bool) -> State:
    """The opposite; in some models, timm has convolutions instead of dense layers."""
    found = {}
    for name, array in state.items():
        if ".grn." in name:
            array = array.reshape(-1)
        elif convolutions and name.endswith((".fc1.weight", ".fc2.weight")):
            array = array[..., None, None]
        found[name] = array
    return found


ENCODERS: dict[str, Encoder] = {
    **{name: _resnet(name) for name in resnet.VARIANTS if re.fullmatch(r"resnet\d+|resnext\d+_32x\d+d", name)},
    **{name: _mit(name) for name in mit.VARIANTS},
    **{name.removesuffix("_torchvision"): _vgg(name) for name in vgg.VARIANTS},
    **{name.removesuffix("_torchvision"): _densenet(name) for name in densenet.VARIANTS},
    **{name: each for size in ("tiny", "small", "base", "large") for name, each in _vit(size, 224).items()},
    **{name: each for size in ("tiny", "small", "base", "large") for name, each in _vit(size, 384).items()},
    **_vit("small", 224, "dino"),
    **_vit("base", 224, "dino"),
    **_vit("base", 224, "mae"),
    **_vit("large", 224, "mae"),
    "mobilenet_v2": _mobile(
        "mobilenet_v2_torchvision",
        below(mobilenet.rules("mobilenet_v2_torchvision"), "features.", ""),
        [1, 3, 6, 13, 18],
    ),
    **_efficientnets(),
    **_universal(),
}
"""The encoders by their names in that library."""
