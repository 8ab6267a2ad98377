"""Reading of image files, PIL images and arrays as uint8 RGB."""

import os
import threading
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 20_000 * 20_000
"""Largest image that is decoded: a file of a few kilobytes can claim billions of pixels."""

STRIP = 2**22
"""Number of pixels to convert at a time: a whole image would be held in memory two or three times."""

_guard = threading.Lock()


def read_image(source: Any) -> np.ndarray:
    """Reads an image as uint8 RGB.

    16-bit gray is divided by 257, palettes and CMYK are converted to RGB, alpha is dropped, and photos are rotated
    according to their EXIF orientation. The first page of a multi-page file is read. Decoding needs at most seven bytes
    per pixel: 2.8 GB for 20,000 x 20,000.

    Args:
        source: A path, a binary file object, a PIL image, or an array: uint8, uint16, or float with values 0 to 255;
            `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`. A memory map of uint8 `(H, W, 3)` is returned unread.

    Returns:
        uint8 `(H, W, 3)`, RGB; a view of the array where possible.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a readable image, has more than `MAX_PIXELS` pixels, or has an unsupported pixel type.

    Example:
        >>> read_image(np.full((2, 3), 65535, "uint16"))[0, 0].tolist()
        [255, 255, 255]
    """
    if isinstance(source, Image.Image):
        return _pixels(source, "the image", own=False)
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        return _decoded(source)
    array = np.asarray(source)
    array = array[..., None] if array.ndim == 2 else array
    fits = array.ndim == 3 and array.shape[-1] in (1, 3, 4) and array.size > 0
    floating = np.issubdtype(array.dtype, np.floating)
    if not fits or not (floating or array.dtype in (np.uint8, np.uint16)):
        raise ValueError(
            f"an image must be uint8, uint16 or float, (H, W) or (H, W, 1, 3 or 4), got {array.dtype} {array.shape}"
        )
    if floating:
        if not 0 <= array.min() <= array.max() <= 255:  # nor NaN
            raise ValueError(f"a float image must have values from 0 to 255, got {array.min():g} to {array.max():g}")
        array = np.rint(array).astype("uint8")
    if array.dtype == np.uint16:
        array = (array // 257).astype("uint8")
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array[..., :3]


def _decoded(file: str | os.PathLike | BinaryIO) -> np.ndarray:
    if isinstance(file, str | os.PathLike):
        name = os.fspath(file)
        if not os.path.isfile(file):
            raise FileNotFoundError(f"no image at {name}; folders and patterns are for Predictor.many and kseg predict")
    else:
        name = str(getattr(file, "name", "the image"))
    with _guard:  # Pillow's limit is global; `_pixels` checks the size before it decodes
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file)
        except Exception as error:
            detail = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            raise ValueError(f"{name}: not an image that can be read{detail}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        return _pixels(image, name, own=True)


def _pixels(image: Image.Image, name: str, *, own: bool) -> np.ndarray:
    if own and image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{name}: {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}: cut it into smaller images, "
            "or pass its pixels to kseg.inference.Predictor as a numpy.memmap"
        )
    if image.mode == "F":
        raise ValueError(f"{name}: floating-point pixels have no known range: convert them to 8 or 16 bits")
    if image.mode == "I" and image.format != "PNG":  # old versions of Pillow open 16-bit PNG files as I
        raise ValueError(f"{name}: 32-bit pixels have no known range: convert them to 8 or 16 bits")
    try:
        return _rgb(image, own=own)
    except Exception as error:  # on damaged files, Pillow's decoders raise errors of many types
        raise ValueError(f"{name}: not an image that can be read ({error})") from None


def _rgb(image: Image.Image, *, own: bool) -> np.ndarray:
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        if own:  # a rotated copy would need up to 1.6 GB more
            ImageOps.exif_transpose(image, in_place=True)
        else:
            image = ImageOps.exif_transpose(image)
    pixels = np.empty((image.height, image.width, 3), "uint8")
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.mode.startswith("I"):
            pixels[top : top + rows] = (np.asarray(strip).astype("uint16") // 257)[..., None]
        else:
            strip.info.pop("transparency", None)
            pixels[top : top + rows] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return pixels
