"""From an image file to the numbers that it stores; `kseg.data.picture` says what they mean."""

import contextlib
import os
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kseg.data.decoding.decoded import STRIP, Decoded, Refused, check_page, check_size, name_of, number, upright
from kseg.data.decoding.tiff import read_tiff, tiff_size

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NPY = b"\x93NUM"

_MODES = dict.fromkeys(("P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"), "RGB")
_MODES |= {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
T = TypeVar("T")

_guard = threading.Lock()


def decode(source: Any, page: int | None, *, keep_alpha: bool, single_bands: bool = False) -> Decoded:
    """Reads a file or a PIL image.

    Args:
        source: A path, a binary file object or a PIL image.
        page: The page of a file with several, from 1.
        keep_alpha: Whether opacity is wanted; otherwise it may be left out.
        single_bands: Whether pages with one band each are the bands of one image.

    Returns:
        The numbers.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it cannot be read; the message names the file.
    """
    if isinstance(source, Image.Image):
        return _named(_pillow, source, name_of(source), page, keep_alpha=keep_alpha, own=False)
    file, name = _opened(source)
    try:
        head = _head(file)
        if head == NPY:
            return _named(_array, file, name, page)
        image = _image(file, name, head)
        if image is not None:
            try:
                return _named(_pillow, image, name, page, keep_alpha=keep_alpha, own=True)
            except ValueError:
                if head not in TIFF:
                    raise
                with contextlib.suppress(ValueError):  # of a compression that Pillow lacks
                    return _named(read_tiff, file, name, page)
                raise
        return _named(read_tiff, file, name, page, single_bands=single_bands)
    finally:
        if file is not source:
            file.close()


def stored_size(source: Any, page: int | None = None) -> tuple[int, int]:
    """Returns height and width of an upright image without decoding it; errors are those of `decode`."""
    file, name = _opened(source)
    try:
        head = _head(file)
        if head == NPY:
            height, width = _named(_array, file, name, page).values.shape[:2]
            return height, width
        image = _image(file, name, head)
        if image is not None:
            return _named(_pillow_size, image, name)
        return _named(tiff_size, file, name, page)
    finally:
        if file is not source:
            file.close()


def _opened(source: Any) -> tuple[Any, str]:
    name = name_of(source)
    if hasattr(source, "read"):
        return source, name
    if not os.path.isfile(source):
        raise FileNotFoundError(f"no image at {name}; folders and patterns are for Predictor.many and kseg predict")
    return open(source, "rb"), name


def _head(file: Any) -> bytes:
    head: bytes = file.read(4)
    file.seek(0)
    return head


def _named(read: Callable[..., T], source: Any, name: str, *arguments: Any, **options: Any) -> T:
    """Calls a reader; its errors name the file. On damaged files, decoders raise errors of many types."""
    try:
        return read(source, *arguments, **options)
    except Refused as error:
        raise ValueError(f"{name}: {error}") from None
    except MemoryError as error:
        raise MemoryError(f"{name}: {error}") from None
    except Exception as error:
        raise ValueError(f"{name}: not an image that can be read ({error})") from None


def open_pillow(file: Any) -> Image.Image:
    """Opens a file with Pillow, without its limit on the number of pixels, which `check_size` replaces."""
    with _guard:  # the limit is global
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _image(file: Any, name: str, head: bytes) -> Image.Image | None:
    """Opens a file with Pillow; None for a TIFF file of which Pillow would drop something."""
    try:
        image = open_pillow(file)
        return None if head in TIFF and not _is_plain(image) else image
    except MemoryError:
        raise
    except Exception as error:
        if head in TIFF:
            return None
        detail = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise ValueError(f"{name}: not an image that can be read{detail}") from None


def _is_plain(image: Any) -> bool:
    """Whether a TIFF file has one page, with 8 bits per band or 16-bit gray, and no band that Pillow drops."""
    tags = image.tag_v2
    bits, samples = set(np.atleast_1d(tags.get(258, 1)).tolist()), int(tags.get(277, 1))
    if image.n_frames > 1 or imagej_pages(image) > 1 or set(np.atleast_1d(tags.get(339, 1)).tolist()) != {1}:
        return False
    if samples > 1 and tags.get(284, 1) != 1:  # planar
        return False
    if max(bits) <= 8:
        return image.mode in _MODES and set(np.atleast_1d(tags.get(338, 1)).tolist()) <= {1, 2}
    return bits == {16} and samples == 1 and tags.get(262) == 1


def imagej_pages(image: Any) -> int:
    """Returns the number of pages that ImageJ states for the first page of a TIFF file, else 1."""
    text = str(getattr(image, "tag_v2", {}).get(270, ""))
    found = re.search(r"^images=(\d+)", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    return int(found[1]) if found else 1


def _pillow(image: Image.Image, page: int | None, *, keep_alpha: bool, own: bool) -> Decoded:
    frames = getattr(image, "n_frames", 1)
    if page is not None:
        check_page(page, frames)
        image.seek(page - 1)
    elif frames > 1 and image.format != "MPO":  # photos of phones, whose further pictures are previews
        raise Refused(f"{frames} pages: choose one, such as page = 1")
    if own:
        check_size(image.height, image.width)
    tags = getattr(image, "tag_v2", {})
    deep = _by_opencv(image) if is_deep(image) else None
    nodata = number(tags.get(42113))
    if image.format == "TIFF":
        image.load()  # which turns it, and forgets its orientation, except in old Pillow
    turn = orientation(image)
    if deep is not None:
        values, mode = deep, ("LA", "RGB", "RGBA")[deep.shape[-1] - 2]
    elif image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values, mode = _strips(image, None, "uint16"), "I"
    elif image.mode in ("I", "F"):
        values, mode = _strips(image, None, "int32" if image.mode == "I" else "float32"), "I"
    else:
        mode = _MODES.get(image.mode, "RGB")
        mode = mode if keep_alpha or image.format == "TIFF" else mode.removesuffix("A")
        values = _strips(image, mode, "uint8")
    bits = int(np.max(tags.get(258, 1))) if values.dtype == np.uint16 and tags else values.itemsize * 8
    alpha = values.shape[-1] - 1 if mode in ("LA", "RGBA") else None
    return Decoded(upright(values, turn), bits, alpha, image.format != "TIFF", nodata)


def _pillow_size(image: Any) -> tuple[int, int]:
    tags = getattr(image, "tag_v2", {})
    height, width = tags.get(257, image.height), tags.get(256, image.width)  # the attributes may be turned already
    return (width, height) if orientation(image) > 4 else (height, width)


def _strips(image: Image.Image, mode: str | None, dtype: str) -> np.ndarray:
    bands = len(mode or "I")
    values = np.empty((image.height, image.width, bands), dtype)
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip.info.pop("transparency", None)
        part = np.asarray(strip if mode in (None, strip.mode) else strip.convert(mode))
        values[top : top + rows] = part.reshape(*part.shape[:2], bands)
    return values


def orientation(image: Any) -> int:
    """Returns the EXIF orientation of a PIL image, 1 to 8; ask before the pixels of a PNG file are decoded."""
    if image.format == "PNG" and getattr(image, "fp", None) is not None and not _png_has_orientation(image.fp):
        return 1
    tags = getattr(image, "tag_v2", None)
    found: int = (image.getexif() if tags is None else tags).get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def _png_has_orientation(file: Any) -> bool:
    """Looks for EXIF, without which Pillow would decode the whole of a PNG file to look for it behind the pixels."""
    place = file.tell()
    file.seek(8)
    found = False
    while not found and len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        start = file.read(min(size, 24)) if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        found = kind == b"eXIf" or start.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
        file.seek(size - len(start) + 4, os.SEEK_CUR)
    file.seek(place)
    return found


def is_deep(image: Any) -> bool:
    """Whether Pillow would drop the low byte of 16-bit colors."""
    if image.mode not in ("RGB", "RGBA", "LA") or getattr(image, "fp", None) is None or not image.tile:
        return False
    details = image.tile[0][3]
    if image.format == "JPEG2000":
        head = _content(image.fp, 256)
        place = head.find(b"ihdr")
        return place >= 0 and (head[place + 14] & 127) + 1 > 8
    if image.format == "PPM":
        return isinstance(details, tuple) and len(details) > 1 and int(details[1]) > 255
    if image.format == "TIFF":
        return bool(max(image.tag_v2.get(258, (8,))) > 8)
    return image.format == "PNG" and ";16" in str(details)


def _content(file: Any, size: int = -1) -> bytes:
    place = file.tell()
    file.seek(0)
    content: bytes = file.read(size)
    file.seek(place)
    return content


def _by_opencv(image: Any) -> np.ndarray:
    try:
        import cv2
    except ImportError:
        raise Refused("colors of 16 bits need OpenCV: pip install 'kseg[train]'") from None
    values: np.ndarray | None = cv2.imdecode(np.frombuffer(_content(image.fp), "uint8"), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("OpenCV cannot decode it")
    if str(image.tile[0][3]).startswith("LA"):  # OpenCV repeats gray
        return values[..., 2:]
    return values[..., [2, 1, 0, 3][: values.shape[-1]]]


def _array(file: Any, page: int | None) -> Decoded:
    return of_array(load_array(file), page)


def load_array(source: Any) -> np.ndarray:
    """Reads a NumPy file, given as a path or open; maps one on the disk, and refuses one that is too large."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    mapped = isinstance(path, str | os.PathLike) and os.path.isfile(path)
    file: Any = path if mapped else source
    values: np.ndarray = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    if values.ndim > 1:
        check_size(*values.shape[:2])
    return values


def of_array(values: np.ndarray, page: int | None = None) -> Decoded:
    """Checks an array `(H, W)` or `(H, W, C)`."""
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.size == 0 or values.dtype.kind not in "uif":
        raise Refused(f"an image must be integers or floats, (H, W) or (H, W, C), got {values.dtype} {values.shape}")
    if page not in (None, 1):
        raise Refused(f"page {page} is asked for, but an array has no pages: leave out page=")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    alpha = 3 if values.shape[-1] == 4 else None
    return Decoded(values, values.dtype.itemsize * 8, alpha, sure=False)
