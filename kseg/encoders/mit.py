"""Mix Transformer (MiT), the encoder of SegFormer, of its authors and of transformers, whose weight files it loads."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kseg import checkpoints, download, pretrained
from kseg.encoders.atrous import shifted_rates
from kseg.encoders.channels import IMAGENET, Normalization, adapt_kernel
from kseg.encoders.mit_names import ORIGINAL, TRANSFORMERS, apart, convert, joined
from kseg.encoders.stages import added, drops
from kseg.encoders.stages import shortest as shortest_of
from kseg.layers import ATTENTION_EPSILON, Conv2D, DepthwiseConv2D, SpatialReductionAttention, exact_gelu

__all__ = [
    "COMMITS", "OPTIONS", "ORIGINAL", "TRANSFORMERS", "VARIANTS", "apart", "build", "convert", "joined", "options",
    "shortest",
]  # fmt: skip

# Channels and number of blocks of the four stages.
VARIANTS = {
    "mit_b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "mit_b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "mit_b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "mit_b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "mit_b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}

OPTIONS = (
    "filters", "depths", "heads", "reductions", "kernel_sizes", "expansions", "drop_path", "epsilon", "mean", "std",
)  # fmt: skip
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

# Commits of the repositories smp-hub/NAME.imagenet on the Hugging Face hub, which have NVIDIA's ImageNet weights.
COMMITS = {
    "mit_b0": "9ce53d104d92d75aabb00aae70677aaab67e7c84",
    "mit_b1": "a04bf4f13a549bce677cf79b04852e7510782817",
    "mit_b2": "868ab6f13871dcf8c3d9f90ee4519403475b65ef",
    "mit_b3": "32558d12a65f1daa0ebcf4f4053c4285e2c1cbda",
    "mit_b4": "3a3454e900a4b4f11dd60eeb59101a9a1a36b017",
    "mit_b5": "ced04d96c586b6297fd59a7a1e244fc78fdb6531",
}
LICENSE = "NVIDIA's license for SegFormer, which forbids commercial use"


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    heads: Sequence[int] = (1, 2, 5, 8),
    reductions: Sequence[int] = (8, 4, 2, 1),
    kernel_sizes: Sequence[int] = (7, 3, 3, 3),
    expansions: Sequence[float] = (4, 4, 4, 4),
    drop_path: float = 0.1,
    epsilon: float = 1e-6,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a Mix Transformer as an encoder, with the outputs of its four stages at strides 4, 8, 16 and 32.

    Args:
        name: A key of `VARIANTS`, which sets `filters` and `depths`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` or None.
        output_stride: 16 or 32. With 16, the last stage attends to four times as many pixels, and its convolutions are
            dilated; that which loses its stride keeps its rate.
        multi_grid: Factors for the dilation rates of the last convolutions: each stage has one at its beginning and one
            for each block.
        filters: Number of channels of the stages.
        depths: Number of blocks of the stages.
        heads: Number of heads of the attention of the stages.
        reductions: Factors by which the keys and values of the attention are reduced along a side.
        kernel_sizes: Kernel sizes of the convolutions with which the stages begin; their strides are 4, 2, 2, 2.
        expansions: Factors of the number of channels between the two dense layers of a block.
        drop_path: Fraction of the images for which the last block leaves out what it would add, during training; it
            increases linearly from 0 in the first block.
        epsilon: Epsilon of the layer normalization in blocks and after stages: 1e-6 in the authors' code and in
            segmentation-models-pytorch, 1e-5 in transformers. That of the other ones is 1e-5 everywhere.
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If the number of channels of a stage is not a multiple of its number of heads, if the options do not
            belong to the ImageNet weights, or if `multi_grid` has too many factors.

    Reference:
        Xie, Wang, Yu, Anandkumar, Alvarez, Luo: SegFormer: Simple and Efficient Design for Semantic Segmentation with
        Transformers, 2021, https://arxiv.org/abs/2105.15203
    """
    filters, depths = (given or known for given, known in zip((filters, depths), VARIANTS[name], strict=True))
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    features = []
    fractions = drops(drop_path, depths)
    full = [2 if stage == 4 and output_stride == 16 else 1 for stage in range(1, 5)]
    spatial = [rate for rate, repeats in zip(full, depths, strict=True) for _ in range(1 + repeats)]
    rates = shifted_rates(spatial, multi_grid)
    stages = zip((4, 2, 2, 2 // full[-1]), filters, fractions, heads, reductions, kernel_sizes, expansions, strict=True)
    for stage, (strides, width, dropped, split, reduction, kernel_size, expansion) in enumerate(stages, start=1):
        rate = next(rates)
        x = keras.layers.ZeroPadding2D(kernel_size // 2 * rate, name=f"stage{stage}_patch_pad")(x)
        x = Conv2D(width, kernel_size, strides=strides, dilation_rate=rate, name=f"stage{stage}_patch_conv")(x)
        x = _norm(f"stage{stage}_patch_norm", ATTENTION_EPSILON)(x)
        for repeat, drop in enumerate(dropped):
            block = f"stage{stage}_{repeat}"
            y = _norm(f"{block}_norm1", epsilon)(x)
            y = SpatialReductionAttention(split, reduction=reduction, name=f"{block}_attention")(y)
            x = added(x, y, drop, f"{block}_attention")
            y = _norm(f"{block}_norm2", epsilon)(x)
            y = keras.layers.Dense(int(width * expansion), name=f"{block}_expand")(y)
            y = DepthwiseConv2D(3, padding="same", dilation_rate=next(rates), name=f"{block}_depthwise_conv")(y)
            y = keras.layers.Activation(exact_gelu, name=f"{block}_gelu")(y)
            y = keras.layers.Dense(width, name=f"{block}_project")(y)
            x = added(x, y, drop, f"{block}_mlp")
        x = _norm(f"stage{stage}_norm", epsilon)(x)
        features.append(x)
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        trained = tuple(heads), tuple(mean), tuple(std)
        if trained != ((1, 2, 5, 8), IMAGENET.mean, IMAGENET.std):
            cure = "leave these options out, or pass encoder_weights=None"
            raise ValueError(f"the ImageNet weights of {name} need the default heads, mean and std: {cure}")
        print(f"the ImageNet weights of {name} have {LICENSE}", file=sys.stderr)
        file = download.fetch_from_hub(f"smp-hub/{name}.imagenet", "model.safetensors", COMMITS[name])
        arrays = convert(checkpoints.read(file))
        arrays["stage1_patch_conv/kernel"] = adapt_kernel(arrays["stage1_patch_conv/kernel"], input_shape[-1])
        pretrained.load(encoder, arrays)
    return encoder


def options(name: str) -> dict[str, Any]:
    """Returns the options of a variant and their values, the keys in `OPTIONS`."""
    filters, depths = VARIANTS[name]
    defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
    return {**{key: defaults[key] for key in OPTIONS}, "filters": filters, "depths": depths}


def shortest(given: Mapping[str, Any]) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Example:
        >>> shortest({"filters": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "heads": [1, 2, 5, 8]})
        'mit_b2'
        >>> shortest({"depths": [1, 1, 1, 1]})
        {'name': 'mit_b0', 'depths': [1, 1, 1, 1]}
    """
    return shortest_of(given, VARIANTS, options)


def _norm(name: str, epsilon: float) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)
