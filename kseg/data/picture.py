"""The one reader of images, for training, checks and prediction: files, PIL images and arrays, of any bit depth."""

import functools
import os
from typing import Any

import numpy as np
from PIL import Image

from kseg.data.decoding import image_file
from kseg.data.decoding.decoded import Decoded, Refused, name_of
from kseg.data.limits import NEARLY_BLACK, Limits, nearly_black
from kseg.data.pixels import Pixels, Warn, warn
from kseg.data.wording import reword

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".jp2",
    ".npy",
)  # fmt: skip
"""Suffixes of the files that `read_picture` reads."""


def read_picture(source: Any, pixels: Pixels = Pixels(), *, on_warning: Warn | None = None) -> np.ndarray:
    """Reads an image with values from 0 to 255.

    Palettes and CMYK are converted to RGB, and photos are rotated according to their EXIF orientation. Decoding needs
    at most seven bytes per pixel of an 8-bit RGB image: 2.8 GB for 20,000 x 20,000.

    Args:
        source: A path, a binary file object, a PIL image, or an array of integers or floats, `(H, W)` or `(H, W, C)`.
        pixels: What the numbers mean, and which of them to use.
        on_warning: A function that takes the name of the image and a text, for what is doubtful about it; None raises
            a warning for each.

    Returns:
        `(H, W, pixels.channels)`: uint8 for 8-bit images without a range (a view of an array where possible, so that a
        memory map is not read), float32 otherwise.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a readable image, has more than 400 million pixels, several pages or other bands than
            are expected, or values without a known range. The message names the file and the cure.

    Example:
        >>> read_picture(np.full((2, 3), 65535, "uint16"))[0, 0].tolist()
        [255.0, 255.0, 255.0]
        >>> read_picture(np.full((2, 3, 5), 1000, "int16"), Pixels(range=(0, 4000), bands=(4, 2)))[0, 0].tolist()
        [63.75, 63.75]
    """
    name, doubt = name_of(source), on_warning or functools.partial(warn, interface="python")
    is_file = isinstance(source, str | os.PathLike | Image.Image) or hasattr(source, "read")
    try:
        if is_file:
            decoded = image_file.decode(
                source,
                pixels.page,
                keep_alpha=pixels.bands is not None or pixels.channels in (2, 4),
                single_bands=pixels.bands is not None and max(pixels.bands) > 1,
            )
        else:
            decoded = image_file.of_array(np.asarray(source), pixels.page)
        values = selected(decoded, pixels, name, doubt)
        limits = Limits.of(values, decoded, pixels, name, doubt)
    except ValueError as error:
        raise ValueError(f"{name}: " * isinstance(error, Refused) + reword(str(error), "python")) from None
    return limits.channels(limits.scaled(values), pixels.channels)


def check_values(image: np.ndarray, name: str, warn: Warn) -> None:
    """Checks that an image of a data set is `(H, W, C)`, uint8 or float with values from 0 to 255.

    Args:
        image: The image.
        name: Its name, for messages.
        warn: A function that takes the name and what is doubtful.

    Raises:
        ValueError: If the shape, the type or the values are others.
    """
    if image.ndim != 3 or image.size == 0 or (image.dtype != np.uint8 and image.dtype.kind != "f"):
        raise ValueError(
            f"{name}: an image of a data set must be (H, W, C), uint8 or float with values from 0 to 255, "
            f"got {image.dtype} {image.shape}"
        )
    if image.dtype == np.uint8:
        if nearly_black(image):
            warn(name, NEARLY_BLACK)
        return
    low, high = float(image.min()), float(image.max())
    if not 0 <= low <= high <= 255:  # nor NaN
        raise ValueError(
            f"{name}: images of a data set must have values from 0 to 255, got {low:g} to {high:g}: clip or scale them"
        )
    if 0 < high <= 1:
        warn(name, "values from 0 to 1 are nearly black (255 is white): multiply by 255")


def picture_size(source: Any, *, page: int | None = None) -> tuple[int, int]:
    """Returns height and width of an image file without decoding it.

    Args:
        source: A path or a binary file object.
        page: The page, if the file has several.

    Returns:
        Height and width after the rotation by the EXIF orientation, as `read_picture` returns the image.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a readable image; the message names the file.
    """
    return image_file.stored_size(source, page)


def selected(decoded: Decoded, pixels: Pixels, name: str, warn: Warn) -> np.ndarray:
    """Returns the bands to use, `(H, W, B)`: as many as channels, or gray for RGB, or RGB for gray."""
    values, wanted = decoded.values, pixels.channels
    count = values.shape[-1]
    if values.dtype.kind not in "uif":
        raise Refused(f"an image must have integers or floats, got {values.dtype}")
    if pixels.bands is not None:
        if max(pixels.bands) > count:
            raise Refused(f"band {max(pixels.bands)} is asked for, but the image has {count} band{'s' * (count > 1)}")
        if pixels.bands == tuple(range(1, count + 1)):
            return values
        return values[..., [band - 1 for band in pixels.bands]]
    if count == wanted:
        return values
    if decoded.alpha is not None and (count - 1 == wanted or {count - 1, wanted} == {1, 3}):
        opacity = values[..., decoded.alpha]
        if not decoded.sure and ((opacity != 0) & (opacity != opacity.max())).any():
            warn(
                name,
                f"band {decoded.alpha + 1} of {count} is dropped as opacity: "
                f"choose bands, such as bands = {list(range(1, count + 1))} for all, if it is another band",
            )
        values = values[..., [band for band in range(count) if band != decoded.alpha]]
        count -= 1
    if count == wanted or {count, wanted} == {1, 3}:
        return values
    have = f"{count} band{'s' if count > 1 else ''} where {wanted} {'are' if wanted > 1 else 'is'} expected"
    if count > wanted:
        turned = ", or move the bands last (numpy.moveaxis(array, 0, -1))" if values.shape[0] == wanted else ""
        raise Refused(f"{have}: choose bands, such as bands = {list(range(1, wanted + 1))}{turned}")
    raise Refused(f"{have}: choose bands, such as bands = {list(range(1, count + 1))}" if wanted == 3 else have)
