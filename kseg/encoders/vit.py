"""Vision Transformer (ViT) and DINOv2, as in transformers, timm and torchvision, whose weight files it loads."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import pretrained
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import added, drops, load_from_torchvision
from kseg.encoders.stages import shortest as shortest_of
from kseg.encoders.vit_names import TIMM, TRANSFORMERS, apart, convert, joined
from kseg.layers import (
    Conv2D,
    LayerScale,
    PatchTokens,
    QueryFeatures,
    QueryTokens,
    SpatialReductionAttention,
    TokenMap,
    exact_gelu,
)

__all__ = [
    "ADDRESSES", "OPTIONS", "TIMM", "TRANSFORMERS", "VARIANTS", "apart", "build", "convert", "joined", "options",
    "shortest",
]  # fmt: skip

_SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
_DINO = {"patch": 14, "grid": 37, "layer_scale": 1e-5, "feature_norms": True}

VARIANTS: dict[str, dict[str, Any]] = {
    **{f"vit_{size}": dict(zip(("filters", "depth", "heads"), known, strict=True)) for size, known in _SIZES.items()},
}
VARIANTS |= {f"dinov2_{size}": {**VARIANTS[f"vit_{size}"], **_DINO} for size in ("small", "base", "large")}
VARIANTS |= {
    f"dinov2_{size}_registers": {**VARIANTS[f"dinov2_{size}"], "registers": 4} for size in ("small", "base", "large")
}

OPTIONS = (
    *("filters", "depth", "heads", "patch", "grid", "registers", "expansion", "layer_scale", "interpolation"),
    *("epsilon", "drop_path", "blocks", "readout", "feature_norms", "queries", "query_blocks", "mean", "std"),
)  # fmt: skip
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    f"vit_{size}": f"https://download.pytorch.org/models/vit_{size[0]}_16-{digits}.pth"
    for size, digits in (("base", "c867db91"), ("large", "852ce7e3"))
}


def build(
    name: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    weights: str | None = "imagenet",
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    filters: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    patch: int | None = None,
    grid: int | None = None,
    registers: int | None = None,
    expansion: float = 4,
    layer_scale: float | None = None,
    interpolation: str = "antialiased",
    epsilon: float = 1e-6,
    drop_path: float = 0.0,
    blocks: int | Sequence[int] = 1,
    readout: str = "ignore",
    feature_norms: bool | None = None,
    queries: int = 0,
    query_blocks: int = 4,
    mean: Sequence[float] = IMAGENET.mean,
    std: Sequence[float] = IMAGENET.std,
) -> keras.Model:
    """Builds a Vision Transformer as an encoder, whose features all have one stride, the side of a patch.

    Images whose sides are not multiples of a patch are extended by zeros (after normalization) at the bottom and at the
    right: sizes are rounded up, as by timm's `dynamic_img_pad`. (transformers leaves the incomplete patches out.)

    Args:
        name: A key of `VARIANTS`, which sets `filters`, `depth` and `heads`; for DINOv2 also `patch`, `grid`,
            `registers`, `layer_scale` and `feature_norms`.
        input_shape: Height, width and channels of the image.
        weights: `"imagenet"` (torchvision's, for `vit_base` and `vit_large`) or None.
        output_stride: 16 or 32, which makes no difference.
        multi_grid: Empty, since attention has no dilated form.
        filters: Number of channels.
        depth: Number of blocks.
        heads: Number of heads of the attention.
        patch: Side of the patches, in pixels.
        grid: Number of rows and of columns of patches for which there are positions. They are interpolated for images
            of other sizes.
        registers: Number of tokens without positions beside the class token.
        expansion: Factor of the number of channels between the two dense layers of a block.
        layer_scale: Initial value of the factors of what a block adds; None for no such factors.
        interpolation: How positions are interpolated: `"antialiased"` as by timm and by transformers' DINOv2 with
            registers, `"bicubic"` as by transformers' ViT and DINOv2, or `"bilinear"` as by transformers' DPT.
        epsilon: Number that layer normalization adds to variances.
        drop_path: Fraction of the images for which the last block leaves out what it would add, during training; it
            increases linearly from 0 in the first block.
        blocks: Indices of the blocks whose outputs are features, or the number of such blocks, at equal distances and
            with the last one.
        readout: What becomes of the class token: `"ignore"`, `"add"` to every feature, or `"append"` its channels to
            those of every feature.
        feature_norms: Whether the last layer normalization is applied to all features, as in transformers' DINOv2.
        queries: Number of learned queries among the tokens of the last blocks. Their features, `(N, queries, 1, C)`,
            are the first output then.
        query_blocks: Number of these blocks.
        mean: Mean of each channel, on the scale 0 to 255. (Google's weights, which timm has, need 127.5.)
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads, if there is no such block, if
            `query_blocks` does not fit the number of blocks, or if kseg has no ImageNet weights for the network or the
            options do not belong to them.

    Reference:
        Dosovitskiy et al.: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, 2021,
        https://arxiv.org/abs/2010.11929; Oquab et al.: DINOv2: Learning Robust Visual Features without Supervision,
        2023, https://arxiv.org/abs/2304.07193
    """
    given: dict[str, Any] = {
        "filters": filters,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "grid": grid,
        "registers": registers,
    }
    given |= {"layer_scale": layer_scale, "feature_norms": feature_norms}
    known = {**options(name), **{key: value for key, value in given.items() if value is not None}}
    width, patch, registers = known["filters"], known["patch"], known["registers"]
    taken = _taken(blocks, known["depth"])
    if queries and not (fewest := known["depth"] - taken[-1]) <= query_blocks <= known["depth"]:
        raise ValueError(f"query_blocks must be from {fewest} to {known['depth']}, got {query_blocks}")
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = keras.layers.ZeroPadding2D(((0, patch - 1), (0, patch - 1)), name="patch_pad")(x)
    patches = Conv2D(width, patch, strides=patch, name="patch_conv")(x)
    x = PatchTokens(known["grid"], registers=registers, interpolation=interpolation, name="tokens")(patches)
    norm = _norm("norm", epsilon) if known["feature_norms"] else None
    features: list[keras.KerasTensor] = []
    for index, drop in enumerate(drops(drop_path, [known["depth"]])[0]):
        block = f"block{index}"
        if queries and index == known["depth"] - query_blocks:
            x = QueryTokens(queries, name="queries")(x)
            registers += queries  # they are left out of maps, too
        y = _norm(f"{block}_norm1", epsilon)(x)
        y = SpatialReductionAttention(known["heads"], name=f"{block}_attention")(y)
        y = LayerScale(known["layer_scale"], name=f"{block}_scale1")(y) if known["layer_scale"] else y
        x = added(x, y, drop, f"{block}_attention")
        y = _norm(f"{block}_norm2", epsilon)(x)
        y = keras.layers.Dense(round(width * expansion), name=f"{block}_mlp_expand")(y)
        y = keras.layers.Activation(exact_gelu, name=f"{block}_gelu")(y)
        y = keras.layers.Dense(width, name=f"{block}_mlp_project")(y)
        y = LayerScale(known["layer_scale"], name=f"{block}_scale2")(y) if known["layer_scale"] else y
        x = added(x, y, drop, f"{block}_mlp")
        if index in taken:
            y = norm(x) if norm else x
            to_map = TokenMap(registers=registers, readout=readout, name=f"feature{len(features) + 1}")
            features.append(to_map(y, patches))
        if index == taken[-1]:
            break  # the later blocks would have no influence
    if queries:
        features.insert(0, QueryFeatures(queries, name="query_features")(y))
    encoder = keras.Model(image, features, name="encoder")
    if weights == "imagenet":
        _load(encoder, name, known["heads"])
    return encoder


def _taken(blocks: int | Sequence[int], depth: int) -> list[int]:
    """The indices of the blocks whose outputs are features."""
    count = blocks if isinstance(blocks, int) else 0
    taken = [depth * index // count - 1 for index in range(1, count + 1)] if count else list(blocks)  # type: ignore
    if not taken or taken != sorted(set(taken)) or not 0 <= taken[0] <= taken[-1] < depth:
        raise ValueError(f"blocks must be from 0 to {depth - 1} in ascending order, or their number, got {blocks!r}")
    return taken


def _load(encoder: keras.Model, name: str, heads: int) -> None:
    """Loads the ImageNet weights."""
    if name not in ADDRESSES:
        raise ValueError(
            f"kseg has no ImageNet weights of {name}, only of {' and '.join(ADDRESSES)}: pass encoder_weights=None, "
            "or a file of the arrays that kseg.encoders.vit.convert makes of another library's"
        )
    if heads != VARIANTS[name]["heads"]:
        raise ValueError(f"the ImageNet weights of {name} need the default heads, not {heads}: leave this option out")
    keys = pretrained.weight_keys(encoder)

    def converted(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key: array for key, array in convert(state).items() if key in keys}

    load_from_torchvision(encoder, ADDRESSES[name], converted)


def options(name: str) -> dict[str, Any]:
    """Returns the options of a variant and their values, the keys in `OPTIONS`."""
    defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
    general = {"patch": 16, "grid": 14, "registers": 0, "layer_scale": None, "feature_norms": False}
    return {**{key: defaults[key] for key in OPTIONS}, **general, **VARIANTS[name]}


def shortest(given: Mapping[str, Any]) -> str | dict[str, Any]:
    """Returns the shortest form of an encoder with these options: the name of a variant, or a dictionary with others.

    Example:
        >>> shortest({"filters": 384, "depth": 12, "heads": 6, "grid": 24})
        {'name': 'vit_small', 'grid': 24}
    """
    return shortest_of(given, VARIANTS, options)


def _norm(name: str, epsilon: float) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)
