"""Names of the tensors of DPT in transformers and in segmentation-models-pytorch."""

from collections.abc import Sequence

from kseg import checkpoints, encoders
from kseg.zoo import _smp_encoders, _smp_table


def _unit(module: str, path: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """The rules for a residual unit, with the names of its convolutions and normalizations."""
    paths = (f"{path}_conv1/conv", f"{path}_conv2/conv", f"{path}_conv1/norm", f"{path}_conv2/norm")
    return [(rf"{module}\.{name}", each) for name, each in zip(names, paths, strict=True)]


_NAMES = ("convolution1", "convolution2", "batch_norm1", "batch_norm2")
_FUSION = r"neck\.fusion_stage\.layers\.{}"
UNUSED = rf"{_FUSION.format(0)}\.residual_layer1"

RULES: checkpoints.Rules = [
    *checkpoints.below([rule for rule in encoders.vit.TRANSFORMERS if rule[1] != "norm"], "dpt.", "encoder/"),
    *((rf"neck\.reassemble_stage\.readout_projects\.{n}\.0", f"readout_{n + 1}") for n in range(4)),
    *((rf"neck\.reassemble_stage\.layers\.{n}\.projection", f"reassemble_{n + 1}_project") for n in range(4)),
    *((rf"neck\.reassemble_stage\.layers\.{n}\.resize", f"reassemble_{n + 1}_resize") for n in range(4)),
    *((rf"neck\.convs\.{n}", f"reassemble_{n + 1}_conv") for n in range(4)),
    *((rf"{_FUSION.format(4 - level)}\.projection", f"fuse_{level}_project") for level in range(1, 5)),
    *(
        rule
        for level in range(1, 5)
        for unit, path in (("residual_layer1", "skip"), ("residual_layer2", "unit"))
        for rule in _unit(rf"{_FUSION.format(4 - level)}\.{unit}", f"fuse_{level}_{path}", _NAMES)
    ),
    *(
        (rf"{module}\.head\.{index}", path)
        for module, name in (("head", "head"), ("auxiliary_head", "auxiliary"))
        for index, path in ((0, f"{name}_conv/conv"), (1, f"{name}_conv/norm"), (4, f"{name}/conv"))
    ),
]


def smp_rules(options: _smp_table.Options) -> checkpoints.Rules:
    rules: list[tuple[str, str]] = []
    for level in range(1, 5):
        block = f"decoder.reassemble_blocks.{level - 1}"
        rules += _smp_table.named(f"decoder.projection_blocks.{level - 1}.project.0", f"readout_{level}")
        rules += _smp_table.named(f"{block}.project_to_out_channel", f"reassemble_{level}_project")
        rules += _smp_table.named(f"{block}.upsample", f"reassemble_{level}_resize")
        rules += _smp_table.named(f"{block}.project_to_feature_dim", f"reassemble_{level}_conv")
        block = rf"decoder\.fusion_blocks\.{4 - level}"  # that library counts from the coarsest
        for index, path in ((1, "skip"), (2, "unit")):
            names = [name.replace("convolution", "conv_").replace("norm", "norm_") for name in _NAMES]
            rules += _unit(rf"{block}\.residual_conv_block{index}", f"fuse_{level}_{path}", names)
        rules.append((rf"{block}\.project", f"fuse_{level}_project"))
    for index, path in ((0, "head_conv/conv"), (1, "head_conv/norm"), (4, "head/conv")):
        rules += _smp_table.named(f"segmentation_head.head.{index}", path)
    return rules


def smp_unused(options: _smp_table.Options) -> _smp_table.Shapes:
    """The last normalization and the classifier of timm's network."""
    name = options["encoder_name"]
    width = encoders.vit.VARIANTS[_smp_encoders.ENCODERS[name].variant]["filters"]
    shapes: dict[str, tuple[int, ...]] = {f"encoder.model.norm.{leaf}": (width,) for leaf in ("weight", "bias")}
    if "." not in name:  # otherwise the weights are of self-supervised training, without a classifier
        shapes |= {"encoder.model.head.weight": (1000, width), "encoder.model.head.bias": (1000,)}
    return shapes
