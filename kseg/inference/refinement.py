"""The CRF as a step of the prediction of images: which ones it takes, and how they are handed to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg.inference._dense_crf import dense_crf

CRF_BYTES = 2**32
"""Memory for the CRF, estimated as 450 bytes per pixel plus 25 per class; noisy images need 2.5 times as much."""


def check_crf_size(pixels: int, channels: int) -> None:
    """Raises a ValueError if the CRF would need more than `CRF_BYTES` for an image."""
    most = CRF_BYTES // (450 + 25 * max(2, channels))
    if pixels > most:
        raise ValueError(
            f"the CRF takes at most {most:,} pixels of {channels} classes, got {pixels:,}: "
            "leave it out, or shrink the image"
        )


def refined(image: np.ndarray, p: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Refines the probabilities of a gray or RGB image of any dtype, `(H, W, num_classes)`, by `dense_crf`."""
    image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    if image.dtype != np.uint8:  # a dark image of floats would look like one of 0 to 1
        image = np.clip(np.rint(image), 0, 255).astype("uint8")
    if p.shape[-1] > 1:
        return dense_crf(image, p, **options)
    return dense_crf(image, np.concatenate([1 - p, p], axis=-1), **options)[..., 1:]
