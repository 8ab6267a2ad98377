"""Vision Transformer (ViT) and DINOv2, as in transformers, timm and torchvision, whose weight files it loads."""

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kseg import checkpoints, download, pretrained
from kseg.encoders.channels import IMAGENET, Normalization
from kseg.encoders.stages import added, drops, load
from kseg.encoders.stages import shortest as shortest_of
from kseg.layers import Conv2D, LayerScale, PatchTokens, SpatialReductionAttention, TokenMap, exact_gelu

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
    *("epsilon", "drop_path", "blocks", "readout", "feature_norms", "mean", "std"),
)  # fmt: skip
"""Options of `build` that an encoder given as a dictionary may contain beside its name."""

# torchvision's ImageNet weights (IMAGENET1K_V1); the eight digits in a name are the first of the file's SHA-256.
ADDRESSES = {
    f"vit_{size}": f"https://download.pytorch.org/models/vit_{size[0]}_16-{digits}.pth"
    for size, digits in (("base", "c867db91"), ("large", "852ce7e3"))
}


def _rules(block: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rules for the modules of a block, and for its two tensors with the factors of layer scale."""
    return [(rf"{block}\.(\d+)\.{theirs}", rf"block\1_{ours}") for ours, theirs in names.items()]


_LATEST = {
    "norm1": "layernorm_before",
    "attention/query": r"attention\.q_proj",
    "attention/key": r"attention\.k_proj",
    "attention/value": r"attention\.v_proj",
    "attention/out": r"attention\.o_proj",
    "norm2": "layernorm_after",
    "mlp_expand": r"mlp\.fc1",
    "mlp_project": r"mlp\.fc2",
}
"""The modules of a block in networks of transformers since version 5."""

_TOKENS = {"class_token": "cls_token", "positions": "position_embeddings", "registers": "register_tokens"}
TRANSFORMERS: checkpoints.Rules = [
    (r"embeddings\.patch_embeddings\.projection", "patch_conv"),
    *((rf"embeddings\.{theirs}", f"tokens/{ours}") for ours, theirs in _TOKENS.items()),
    *_rules(
        r"encoder\.layer",
        {
            "norm1": "layernorm_before",
            "attention/query": r"attention\.attention\.query",
            "attention/key": r"attention\.attention\.key",
            "attention/value": r"attention\.attention\.value",
            "attention/out": r"attention\.output\.dense",
            "norm2": "layernorm_after",
            "mlp_expand": r"intermediate\.dense",
            "mlp_project": r"output\.dense",
        },
    ),
    *_rules(
        r"encoder\.layer",
        {
            "norm1": "norm1",
            "scale1/scale": r"layer_scale1\.lambda1",
            "norm2": "norm2",
            "scale2/scale": r"layer_scale2\.lambda1",
        },
    ),
    *(rule for block in (r"encoder\.layer", "layers") for rule in _rules(block, _LATEST)),
    ("layernorm", "norm"),
]
"""From the modules and tensors of transformers to those of this network; folders are written with the first names."""

_BLOCK = {
    "norm1": "norm1",
    "attention/query": r"attn\.query",
    "attention/key": r"attn\.key",
    "attention/value": r"attn\.value",
    "attention/out": r"attn\.proj",
    "scale1/scale": r"ls1\.gamma",
    "norm2": "norm2",
    "mlp_expand": r"mlp\.fc1",
    "mlp_project": r"mlp\.fc2",
    "scale2/scale": r"ls2\.gamma",
}
TIMM: checkpoints.Rules = [
    (r"patch_embed\.proj", "patch_conv"),
    ("cls_token", "tokens/class_token"),
    ("pos_embed", "tokens/positions"),
    ("reg_token", "tokens/registers"),
    *_rules("blocks", _BLOCK),
    ("norm", "norm"),
]
"""With query, key and value apart, and a position for the class token."""

TORCHVISION: checkpoints.Rules = [
    ("conv_proj", "patch_conv"),
    ("class_token", "tokens/class_token"),
    (r"encoder\.pos_embedding", "tokens/positions"),
    *_rules(
        r"encoder\.layers",
        {
            "norm1": "ln_1",
            "attention/query": r"attn\.query",
            "attention/key": r"attn\.key",
            "attention/value": r"attn\.value",
            "attention/out": r"self_attention\.out_proj",
            "norm2": "ln_2",
            "mlp_expand": r"mlp\.0",
            "mlp_project": r"mlp\.3",
        },
    ),
    *_rules(r"encoder\.layers", {"mlp_expand": r"mlp\.linear_1", "mlp_project": r"mlp\.linear_2"}),
    (r"encoder\.ln", "norm"),
]
"""With query, key and value apart, and the number of a block alone as its name."""


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
        mean: Mean of each channel, on the scale 0 to 255. (Google's weights, which timm has, need 127.5.)
        std: Standard deviation of each channel, on the scale 0 to 255.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads, if there is no such block, or if
            kseg has no ImageNet weights for the network or the options do not belong to them.

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
    image = keras.Input(input_shape, name="image")
    x = Normalization(tuple(mean), tuple(std)).layer(input_shape[-1])(image)
    x = keras.layers.ZeroPadding2D(((0, patch - 1), (0, patch - 1)), name="patch_pad")(x)
    patches = Conv2D(width, patch, strides=patch, name="patch_conv")(x)
    x = PatchTokens(known["grid"], registers=registers, interpolation=interpolation, name="tokens")(patches)
    norm = _norm("norm", epsilon) if known["feature_norms"] else None
    features: list[keras.KerasTensor] = []
    for index, drop in enumerate(drops(drop_path, [known["depth"]])[0]):
        block = f"block{index}"
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
            to_map = TokenMap(registers=registers, readout=readout, name=f"feature{len(features) + 1}")
            features.append(to_map(norm(x) if norm else x, patches))
        if index == taken[-1]:
            break  # the later blocks would have no influence
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
    url = ADDRESSES[name]
    file = download.fetch(url, sha256=url.rpartition("-")[2].removesuffix(".pth"))
    arrays = convert(checkpoints.read(file))
    keys = pretrained.weight_keys(encoder)
    load(encoder, {key: array for key, array in arrays.items() if key in keys}, "patch_conv")


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a Vision Transformer or DINOv2, without its classifier.

    Args:
        state: `{name: array}` in PyTorch's layout, of transformers, timm, torchvision or DINOv2's authors.

    Returns:
        `{key: array}` for an encoder from `build` with `feature_norms`; without them, leave out the keys that begin
        with `norm/`.

    Example:
        >>> list(convert({"blocks.1.attn.qkv.bias": np.ones(288)}))[:2]
        ['block1_attention/query/bias', 'block1_attention/key/bias']
    """
    rules = [*TRANSFORMERS, *TIMM, *TORCHVISION]
    inside = checkpoints.unwrapped(apart(state), rules)
    left_out = ("head", "heads", "fc_norm", "classifier", "pooler")
    arrays = checkpoints.rename(
        {name: array for name, array in inside.items() if not any(checkpoints.within(name, each) for each in left_out)},
        rules,
    )
    return with_class_position(arrays, "tokens/positions")


def apart(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits the tensors of timm, torchvision and the authors that hold query, key and value, and drops mask tokens."""
    found: dict[str, np.ndarray] = {}
    for name, array in state.items():
        if joint := re.fullmatch(r"(.*)\.(?:attn\.qkv\.|self_attention\.in_proj_)(weight|bias)", name):
            parts = zip(("query", "key", "value"), np.split(array, 3), strict=True)
            names = {part: f"{joint[1]}.attn.{part}.{joint[2]}" for part in ("query", "key", "value")}
            found |= {_numbered(names[part]): values for part, values in parts}
        elif not re.fullmatch(r"(.*\.)?mask_token", name):
            found[_numbered(name)] = array
    return found


def joined(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins query, key and value again, as in timm: the opposite of `apart`."""
    found: dict[str, np.ndarray] = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith(".attn.query"):
            parts = [state[f"{module.removesuffix('query')}{part}.{leaf}"] for part in ("query", "key", "value")]
            found[f"{module.removesuffix('query')}qkv.{leaf}"] = np.concatenate(parts)
        elif not module.endswith((".attn.key", ".attn.value")):
            found[name] = array
    return found


def with_class_position(arrays: Mapping[str, np.ndarray], key: str) -> dict[str, np.ndarray]:
    """Adds a position of zeros for the class token if there are positions for the patches only, as in timm's DINOv2."""
    arrays = dict(arrays)
    if key in arrays and math.isqrt(arrays[key].shape[1]) ** 2 == arrays[key].shape[1]:
        arrays[key] = np.pad(arrays[key], ((0, 0), (1, 0), (0, 0)))
    return arrays


def _numbered(name: str) -> str:
    return name.replace(".encoder_layer_", ".")


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
