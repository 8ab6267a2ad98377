"""Image files, PIL images and arrays of every kind as RGB, uint8."""

import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def read_image(source: Any) -> np.ndarray:
    """Reads an image as models take it.

    16-bit gray is divided by 257, palettes and CMYK become RGB, alpha is dropped, and a photo that its EXIF data say is
    turned is turned upright.

    Args:
        source: A file, a PIL image, or an array: uint8 or uint16 `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no image that can be read, or an array of another kind; by name.

    Example:
        >>> read_image(np.full((2, 3), 65535, "uint16"))[0, 0].tolist()
        [255, 255, 255]
    """
    if isinstance(source, Image.Image):
        return _pixels(source, "the image")
    if isinstance(source, str | os.PathLike):
        if not os.path.isfile(source):
            raise FileNotFoundError(f"no image at {os.fspath(source)}")
        try:
            with Image.open(source) as image:
                return _pixels(image, os.fspath(source))
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{os.fspath(source)}: not an image that can be read ({error})") from None
    array = np.asarray(source)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.dtype not in (np.uint8, np.uint16):
        told = f"{array.dtype} {array.shape}"
        raise ValueError(f"an image is uint8 or uint16, (H, W) or (H, W, 1, 3 or 4), got {told}")
    if array.dtype == np.uint16:
        array = (array // 257).astype("uint8")
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else np.ascontiguousarray(array[..., :3])


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return read_image(np.asarray(image).astype("uint16"))
    if image.mode == "I":  # a 16-bit PNG, as older Pillows call it
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{name}: 32-bit pixels of {values.min()} to {values.max()}: convert them to 8 or 16 bits")
        return read_image(values.astype("uint16"))
    if image.mode == "F":
        raise ValueError(f"{name}: floating-point pixels have no known range: convert them to 8 or 16 bits")
    return np.asarray(image.convert("RGB"))
