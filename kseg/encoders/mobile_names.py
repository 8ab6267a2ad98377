"""The names of the tensors of MobileNets and EfficientNets in PyTorch's libraries."""

from kseg import checkpoints
from kseg.encoders.mobile_variants import VARIANTS, Block, Variant

_KINDS = ("conv", "norm")


def _blocks(variant: Variant) -> list[tuple[Block, list[str]]]:
    """The blocks, and the names of their parts: `expand` is missing if the number of channels is that of the input."""
    found, width = [], variant.stem
    for block in variant.blocks:
        parts = ["expand"] if block.expanded != width else []
        found.append((block, [*parts, "depthwise", *(["excite"] if block.hidden else []), "project"]))
        width = block.filters
    return found


def _escaped(pairs: list[tuple[str, str]]) -> checkpoints.Rules:
    return [(module.replace(".", r"\."), path) for module, path in pairs]


def rules(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of torchvision's `features` to the layers of a MobileNet."""
    variant = VARIANTS[name]
    second = not variant.ends_with_last
    pairs = [("0.0", "stem_conv"), ("0.1", "stem_norm")]
    for index, (_, names) in enumerate(_blocks(variant), start=1):
        inside, path = f"{index}.{'conv' if second else 'block'}", f"block{index}"
        for position, part in enumerate(names):
            if part == "excite":
                pairs += [(f"{inside}.{position}.fc1", f"{path}_excite/squeeze")]
                pairs += [(f"{inside}.{position}.fc2", f"{path}_excite/excite")]
            elif part == "project" and second:  # without an activation, V2 nests the layers less
                pairs += [(f"{inside}.{position}", f"{path}_project_conv")]
                pairs += [(f"{inside}.{position + 1}", f"{path}_project_norm")]
            else:
                pairs += [(f"{inside}.{position}.{i}", f"{path}_{part}_{kind}") for i, kind in enumerate(_KINDS)]
    return _escaped([*pairs, *((f"{len(variant.blocks) + 1}.{i}", f"last_{kind}") for i, kind in enumerate(_KINDS))])


def timm_rules(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of timm to the layers of a network of `VARIANTS`."""
    variant = VARIANTS[name]
    places = [f"blocks.{stage}.{each}" for stage, count in enumerate(variant.stages) for each in range(count)]
    pairs = [("conv_stem", "stem_conv"), ("bn1", "stem_norm")]
    for index, (place, (_, names)) in enumerate(zip(places, _blocks(variant), strict=True), start=1):
        convolutions = {"depthwise": "conv_dw", "project": "conv_pw"}
        if "expand" in names:
            convolutions = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
        for number, (part, convolution) in enumerate(convolutions.items(), start=1):
            pairs.append((f"{place}.{convolution}", f"block{index}_{part}_conv"))
            pairs.append((f"{place}.bn{number}", f"block{index}_{part}_norm"))
        if "excite" in names:
            pairs.append((f"{place}.se.conv_reduce", f"block{index}_excite/squeeze"))
            pairs.append((f"{place}.se.conv_expand", f"block{index}_excite/excite"))
    last = f"blocks.{len(variant.stages)}.0.conv", f"blocks.{len(variant.stages)}.0.bn1"
    heads = last if variant.ends_with_last else ("conv_head", "bn2")
    pairs += [(head, f"last_{kind}") for head, kind in zip(heads, _KINDS, strict=True)] if variant.last else []
    return _escaped(pairs)


def transformers(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of transformers' `mobilenet_v2` to the layers of a MobileNetV2."""
    parts = {"expand_1x1": "expand", "conv_3x3": "depthwise", "reduce_1x1": "project"}
    places = ["conv_stem", *(f"layer.{index}" for index in range(len(VARIANTS[name].blocks) - 1))]
    pairs = [("conv_stem.first_conv", "stem")]
    pairs += [
        (f"{place}.{module}", f"block{index}_{part}")
        for index, place in enumerate(places, start=1)
        for module, part in parts.items()
    ]
    kinds = zip(("convolution", "normalization"), _KINDS, strict=True)
    return _escaped([(f"{module}.{theirs}", f"{path}_{ours}") for theirs, ours in kinds for module, path in pairs])


def efficientnet_pytorch(name: str) -> checkpoints.Rules:
    """Returns the rules from the modules of the package efficientnet-pytorch to the layers of an EfficientNet."""
    pairs = [("_conv_stem", "stem_conv"), ("_bn0", "stem_norm")]
    for index in range(len(VARIANTS[name].blocks)):
        place, path = f"_blocks.{index}", f"block{index + 1}"
        for number, part in enumerate(("expand", "depthwise", "project")):
            pairs += [(f"{place}._{part}_conv", f"{path}_{part}_conv"), (f"{place}._bn{number}", f"{path}_{part}_norm")]
        pairs += [(f"{place}._se_reduce", f"{path}_excite/squeeze"), (f"{place}._se_expand", f"{path}_excite/excite")]
    return _escaped(pairs)
