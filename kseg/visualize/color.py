"""Images and label maps as RGB."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg.classes import class_ids
from kseg.visualize.palette import VOID


def colorize(mask: Any, palette: Sequence[Sequence[int]], *, void: Sequence[int] = VOID) -> np.ndarray:
    """Colors a label map.

    Args:
        mask: Integers `(H, W)` or `(H, W, 1)`.
        palette: One color per class.
        void: Color of every other label.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ValueError: If the mask has another shape or contains fractions, such as probabilities.

    Example:
        >>> import numpy as np
        >>> from kseg.visualize import colorize
        >>> colorize(np.array([[0, 1, 255]]), [(9, 9, 9), (0, 0, 255)]).tolist()
        [[[9, 9, 9], [0, 0, 255], [0, 0, 0]]]
    """
    mask = plane(mask)
    table = np.array([*palette, void], "uint8")
    inside = (mask >= 0) & (mask < len(palette))
    return table[np.where(inside, mask, len(palette)).astype("int64")]


def rgb(image: Any) -> np.ndarray:
    """Returns an image as uint8 RGB `(H, W, 3)`: gray is repeated, channels after the third are dropped."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3:
        raise ValueError(f"an image must have shape (H, W) or (H, W, C); got {image.shape}")
    image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype("uint8")


def dim(image: Any, brightness: float = 0.4) -> np.ndarray:
    """Returns an image in dark gray, as a background for colors: uint8 `(H, W, 3)`."""
    gray = np.asarray(Image.fromarray(rgb(image)).convert("L").point(lambda value: value * brightness))
    return rgb(gray)


def plane(mask: Any) -> np.ndarray:
    """Returns a label map of shape `(H, W)` or `(H, W, 1)` as `(H, W)`."""
    mask = class_ids(mask, "a mask")
    mask = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    if mask.ndim != 2:
        raise ValueError(f"a mask must have shape (H, W); got {mask.shape}")
    return mask


def blend(image: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """Mixes two uint8 pictures `(H, W, 3)`; `opacity` is the share of the second."""
    return np.array(Image.blend(Image.fromarray(image), Image.fromarray(colors), opacity))
