"""FCN-32s, FCN-16s and FCN-8s in PyTorch with the geometry of the authors' nets for Caffe.

Written after the sizes that their released nets state. The first convolution pads the image by 100 pixels, so that fc6
needs no padding. Poolings round sizes up. Scores are upsampled by transposed convolutions without padding, whose
bilinear kernels stay as they are. Crops then align the scores with finer ones and with the image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import torch
from torch.nn import functional

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Number of convolutions before each pooling."""
PADDING = 100
"""Pixels around the image."""
SKIPS = {16: ("pool4", 5), 8: ("pool3", 9)}
"""The features that are scored at each stride, and the offset of the crop of their scores."""
OFFSETS = {32: 19, 16: 27, 8: 31}
"""Offset of the crop of the upsampled scores, by their stride."""

Weights = Mapping[str, Sequence[np.ndarray]]


def logits(image: np.ndarray, weights: Weights, scales: Mapping[int, float]) -> np.ndarray:
    """Computes the logits of images.

    Args:
        image: Normalized images `(N, H, W, C)`.
        weights: Kernel `(rows, columns, inputs, outputs)` and bias of each convolution by its name in the nets.
        scales: The strides of the skips, coarsest first, and the factor on their features.

    Returns:
        Logits `(N, H, W, num_classes)`.
    """
    with torch.no_grad():
        x = _channels_first(image)
        features = {}
        for level, count in enumerate(CONVOLUTIONS, start=1):
            for place in range(1, count + 1):
                name = f"conv{level}_{place}"
                x = torch.relu(_convolve(x, weights[name], padding=PADDING if name == "conv1_1" else 1))
            x = features[f"pool{level}"] = functional.max_pool2d(x, 2, ceil_mode=True)
        for name in ("fc6", "fc7"):
            x = torch.relu(_convolve(x, weights[name]))
        x, stride = _convolve(x, weights["score_fr"]), 32
        for finer, scale in scales.items():
            pool, offset = SKIPS[finer]
            x = _enlarge(x, stride // finer)
            x = x + _crop(_convolve(scale * features[pool], weights[f"score_{pool}"]), offset, x.shape[2:])
            stride = finer
        x = _crop(_enlarge(x, stride), OFFSETS[stride], image.shape[1:3])
        return x.permute(0, 2, 3, 1).numpy()


def variables_of(model: Any) -> dict[str, list[Any]]:
    """Returns the kernels and biases of a kseg FCN on VGG16 by the names of the authors' nets."""
    layers = {layer.name: layer for layer in model.layers}
    encoder = layers["encoder"]
    found = {
        f"conv{level}_{place}": encoder.get_layer(f"block{level}_conv{place}")
        for level, count in enumerate(CONVOLUTIONS, start=1)
        for place in range(1, count + 1)
    }
    found |= {"fc6": layers["fc6"], "fc7": layers["fc7"], "score_fr": layers["score_32"].conv}
    skips = {pool: layers.get(f"fuse_{stride}") for stride, (pool, _) in SKIPS.items()}
    found |= {f"score_{pool}": fuse.score for pool, fuse in skips.items() if fuse is not None}
    return {name: layer.weights for name, layer in found.items()}


def weights_of(model: Any) -> Weights:
    """Returns what `variables_of` does, as arrays."""
    variables = variables_of(model)
    return {name: [keras.ops.convert_to_numpy(each) for each in pair] for name, pair in variables.items()}


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2), "float32"))


def _convolve(x: torch.Tensor, weights: Sequence[np.ndarray], padding: int = 0) -> torch.Tensor:
    kernel, bias = weights
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return functional.conv2d(x, torch.from_numpy(kernel), torch.from_numpy(bias), padding=padding)


def _enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    taps = (torch.arange(2 * factor) + 0.5) / factor
    tent = torch.minimum(taps, 2 - taps)
    kernel = torch.outer(tent, tent).expand(x.shape[1], 1, -1, -1)
    return functional.conv_transpose2d(x, kernel, stride=factor, groups=x.shape[1])


def _crop(x: torch.Tensor, offset: int, size: Sequence[int]) -> torch.Tensor:
    height, width = size
    return x[:, :, offset : offset + height, offset : offset + width]
