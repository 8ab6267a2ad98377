"""Fully connected CRF: label maps drawn to the image's edges, by mean field over all pairs of pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kseg.inference.permutohedral import PermutohedralLattice

LEAST = 1e-8  # probability, so that logarithms are finite
LARGEST_EXPONENT = 80.0  # exp(88.7) is float32's end

NORMALIZATIONS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "symmetric": lambda sums: (sums**-0.5, sums**-0.5),
    "before": lambda sums: (1 / sums, np.ones_like(sums)),
    "after": lambda sums: (np.ones_like(sums), 1 / sums),
    "none": lambda sums: (np.ones_like(sums), np.ones_like(sums)),
}
"""What multiplies a kernel's input and its output, from its sums over all pixels."""


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

    Every pair of pixels that lie near one another (smoothness), or near one another and alike in colour (appearance),
    is drawn to the same class. Mean field: Q = softmax(log p + sum of kernels applied to Q), repeated; a pixel's own
    share in its sums is not taken out, as in the authors' code. The defaults are DeepLab's for the smoothness and lie
    in its ranges for the appearance (3 to 10, 30 to 100, 3 to 10), which depend on the net: `tune_crf` finds them.

    Args:
        image: uint8 `(H, W, 3)`.
        probabilities: `(H, W, C)`, 0 to 1, summing to 1; C at least 2.
        smoothness: Weight of the smoothness kernel, 0 leaves it out.
        smoothness_xy: Its standard deviation, pixels.
        appearance: Weight of the appearance kernel, 0 leaves it out.
        appearance_xy: Its standard deviation in place, pixels.
        appearance_rgb: Its standard deviation in colour, of 0 to 255.
        iterations: Of the mean field; 0 gives the probabilities back.
        normalization: How a kernel K is normalised by its sums n = K 1: `"symmetric"` (n^-1/2 before and after),
            `"before"`, `"after"`, or `"none"`.

    Returns:
        float32 `(H, W, C)`, probabilities.

    Raises:
        ModuleNotFoundError: SciPy or pandas is missing.
        ValueError: Image and probabilities do not fit, or an option makes no sense.

    Reference:
        Kraehenbuehl and Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, 2011,
        https://arxiv.org/abs/1210.5644; Chen et al., DeepLab, https://arxiv.org/abs/1606.00915

    Example:
        >>> image = np.zeros((1, 8, 3), "uint8")
        >>> image[:, 4:] = 200                                             # two regions
        >>> p = np.full((1, 8, 2), 0.5)
        >>> p[0, 0], p[0, 7] = (0.9, 0.1), (0.1, 0.9)                      # known at their ends alone
        >>> dense_crf(image, p, smoothness=0).argmax(axis=-1).tolist()
        [[0, 0, 0, 0, 1, 1, 1, 1]]
    """
    image, p = _checked(image, probabilities)
    for name, number in (("smoothness", smoothness), ("appearance", appearance), ("iterations", iterations)):
        if number < 0:
            raise ValueError(f"{name} must be 0 or more, got {number}")
    widths = {"smoothness_xy": smoothness_xy, "appearance_xy": appearance_xy, "appearance_rgb": appearance_rgb}
    for name, width in widths.items():
        if width <= 0:
            raise ValueError(f"{name} must be positive, got {width}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is one of {', '.join(NORMALIZATIONS)}, got {normalization!r}")
    height, length, classes = p.shape
    place = np.indices((height, length), "float32").reshape(2, -1)
    colour = image.reshape(-1, 3).T.astype("float32")
    lattices, greatest = [], 0.0
    for weight, features in (
        (smoothness, lambda: place / smoothness_xy),
        (appearance, lambda: np.concatenate([place / appearance_xy, colour / appearance_rgb])),
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
        if greatest > LARGEST_EXPONENT:  # seldom, and slow
            x -= x.max(axis=1, keepdims=True)
        q = np.exp(x, out=x)
        q /= (q @ np.ones(classes, "float32"))[:, None]
    return q.reshape(p.shape)


def _checked(image: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    image, p = np.asarray(image), np.asarray(probabilities, "float32")
    if image.ndim != 3 or image.shape[-1] != 3 or image.size == 0:
        raise ValueError(f"an image is (H, W, 3), a pixel at least, got {image.shape}")
    if p.ndim != 3 or p.shape[:2] != image.shape[:2] or p.shape[-1] < 2:
        told = f"({image.shape[0]}, {image.shape[1]}, classes), at least two classes"
        raise ValueError(f"probabilities for this image are {told}, got {p.shape}; of one channel p take [1 - p, p]")
    return image, p
