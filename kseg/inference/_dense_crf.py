"""Fully connected CRF: sharpens predictions along color edges, by mean field inference over all pairs of pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kseg.classes import check_probabilities
from kseg.inference.permutohedral import PermutohedralLattice

LEAST = 1e-8  # smallest probability, which keeps logarithms finite
LARGEST_EXPONENT = 80.0  # exp(88.7) is the largest float32

NORMALIZATIONS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "symmetric": lambda sums: (sums**-0.5, sums**-0.5),
    "before": lambda sums: (1 / sums, np.ones_like(sums)),
    "after": lambda sums: (np.ones_like(sums), 1 / sums),
    "none": lambda sums: (np.ones_like(sums), np.ones_like(sums)),
}
"""Factors for the input and the output of a kernel, computed from its sums over all pixels."""


def dense_crf(
    image: Any,
    probabilities: Any,
    *,
    smoothness: float = 3.0,
    smoothness_xy: float = 3.0,
    appearance: float = 4.0,
    appearance_xy: float = 67.0,
    appearance_rgb: float = 3.0,
    iterations: int = 10,
    normalization: str = "symmetric",
) -> np.ndarray:
    """Refines probabilities by a fully connected conditional random field.

    The CRF favors equal classes for pixels that are close together (smoothness), and for pixels that are close
    together and similar in color (appearance). Mean field inference repeats Q = softmax(log p + sum of kernels applied
    to Q); as in the authors' code, each sum includes the pixel itself. The smoothness defaults are DeepLab's; the
    appearance defaults lie in its ranges (3 to 10, 30 to 100, 3 to 10). The best values depend on the network:
    `tune_crf` finds them.

    Args:
        image: `(H, W, 3)`, values 0 to 255; floats of 0 to 1 are refused.
        probabilities: `(H, W, C)`, 0 to 1, with a sum of 1; C is at least 2.
        smoothness: Weight of the smoothness kernel; 0 omits it.
        smoothness_xy: Standard deviation of the smoothness kernel, in pixels.
        appearance: Weight of the appearance kernel; 0 omits it.
        appearance_xy: Standard deviation of the appearance kernel in position, in pixels.
        appearance_rgb: Standard deviation of the appearance kernel in color, on the scale 0 to 255.
        iterations: Number of mean field iterations; 0 returns the probabilities unchanged.
        normalization: How a kernel K is normalized by its sums n = K 1: `"symmetric"` (n^-1/2 before and after),
            `"before"`, `"after"`, or `"none"`.

    Returns:
        float32 `(H, W, C)`, probabilities.

    Raises:
        ModuleNotFoundError: If SciPy or pandas is missing.
        ValueError: If the image and the probabilities do not fit, the probabilities are logits or contain NaN, the
            image has other values, or an option is invalid.

    Reference:
        Kraehenbuehl and Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, 2011,
        https://arxiv.org/abs/1210.5644; Chen et al., DeepLab, https://arxiv.org/abs/1606.00915

    Example:
        >>> image = np.zeros((1, 8, 3), "uint8")
        >>> image[:, 4:] = 200                                             # two regions
        >>> p = np.full((1, 8, 2), 0.5)
        >>> p[0, 0], p[0, 7] = (0.9, 0.1), (0.1, 0.9)                      # certain at both ends only
        >>> dense_crf(image, p, smoothness=0).argmax(axis=-1).tolist()
        [[0, 0, 0, 0, 1, 1, 1, 1]]
    """
    image, p = np.asarray(image), np.asarray(probabilities, "float32")
    if image.ndim != 3 or image.shape[-1] != 3 or image.size == 0:
        raise ValueError(f"the image must be (H, W, 3) with at least one pixel, got {image.shape}")
    if p.ndim != 3 or p.shape[:2] != image.shape[:2] or p.shape[-1] < 2:
        raise ValueError(
            f"the probabilities must be ({image.shape[0]}, {image.shape[1]}, classes) with two classes or more, "
            f"got {p.shape}: of one channel p use [1 - p, p]"
        )
    low, high = float(image.min()), float(image.max())
    if not 0 <= low <= high <= 255:  # nor NaN
        raise ValueError(f"the image must have values from 0 to 255, got {low:g} to {high:g}: pass it unnormalized")
    if image.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(f"the image must have values from 0 to 255, got at most {high:g}: multiply it by 255")
    check_probabilities(p)
    for name, number in (("smoothness", smoothness), ("appearance", appearance), ("iterations", iterations)):
        if number < 0:
            raise ValueError(f"{name} must be 0 or more, got {number}")
    widths = {"smoothness_xy": smoothness_xy, "appearance_xy": appearance_xy, "appearance_rgb": appearance_rgb}
    for name, width in widths.items():
        if width <= 0:
            raise ValueError(f"{name} must be positive, got {width}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}")
    height, length, classes = p.shape
    place = np.indices((height, length), "float32").reshape(2, -1)
    color = image.reshape(-1, 3).T.astype("float32")
    lattices, greatest = [], 0.0
    for weight, features in (
        (smoothness, lambda: place / smoothness_xy),
        (appearance, lambda: np.concatenate([place / appearance_xy, color / appearance_rgb])),
    ):
        if weight == 0:
            continue
        lattice = PermutohedralLattice(features().T)
        ones = np.ones((height * length, 1), "float32")
        before, after = NORMALIZATIONS[normalization](lattice(ones)[:, 0])
        lattice.rescale(before, weight * after)
        greatest += float(lattice(ones).max())
        lattices.append(lattice)
    log_p = np.log(np.maximum(p.reshape(-1, classes), LEAST))
    q = np.exp(log_p)
    for _ in range(iterations if lattices else 0):
        x = sum((lattice(q) for lattice in lattices), start=log_p)
        if greatest > LARGEST_EXPONENT:  # rare, and slow
            x -= x.max(axis=1, keepdims=True)
        q = np.exp(x, out=x)
        q /= (q @ np.ones(classes, "float32"))[:, None]
    return q.reshape(p.shape)
