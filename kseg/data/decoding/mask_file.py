"""Read the pixels of mask files as they are stored: indices, gray values of any depth, or colors."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kseg.data.decoding.decoded import upright
from kseg.data.decoding.image_file import decode, is_deep, open_pillow, orientation

SAMPLE_FORMAT, SOFTWARE, PHOTOMETRIC, BITS, SUBFILE = 339, 305, 262, 258, 254  # TIFF tags
SIGNED = (2,)
REDUCED_OR_MASK = 1 | 4  # bits of SUBFILE: an overview, or the transparency of another page


class Indexed(NamedTuple):
    """A palette image: indices, uint8 `(H, W)`, and the colors that the file gives them, uint8 `(n, 3)`."""

    indices: np.ndarray
    colors: np.ndarray


def read_mask(path: Path) -> Indexed | np.ndarray:
    """Reads a mask file.

    Args:
        path: An image file with one page, or a NumPy file.

    Returns:
        Numbers `(H, W)` of the dtype of the file, colors `(H, W, 3)`, uint8 or uint16, or an `Indexed`; alpha is
        dropped, and the orientation of EXIF is applied, as for images.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it cannot be read, or has several pages.
    """
    try:
        pixels = _numpy_file(path) if path.suffix.lower() == ".npy" else _image_file(path)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # on damaged files, decoders raise errors of many types
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: cannot be read as a mask ({type(error).__name__}: {reason})") from error
    return pixels if isinstance(pixels, Indexed) else _planes(pixels, path)


def _numpy_file(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def _image_file(path: Path) -> Indexed | np.ndarray:
    with path.open("rb") as file:  # of a name, Pillow would turn some TIFF files twice
        try:
            mask = open_pillow(file)
        except Image.UnidentifiedImageError:
            return decode(path, None, keep_alpha=False).values  # a TIFF file that Pillow cannot read, e.g. of 64 bits
        if pages := _further_pages(mask):
            raise ValueError(f"{pages + 1} pages: save one page")
        return decode(path, None, keep_alpha=False).values if is_deep(mask) else _pillow(mask)


def _pillow(mask: Image.Image) -> Indexed | np.ndarray:
    tags: Any = getattr(mask, "tag_v2", {})
    if mask.format == "TIFF":
        mask.load()  # which turns it, except in old Pillow
    bits, turn = tags.get(BITS, (8,)), orientation(mask)
    if mask.mode in ("P", "PA"):
        indices = upright(np.array(mask), turn)
        colors = np.array(mask.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return Indexed(indices if indices.ndim == 2 else indices[..., 0], colors)
    if mask.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F") and not mask.mode.startswith("I;16"):
        mask = mask.convert("RGB")  # e.g. CMYK
    pixels = upright(np.array(mask), turn)
    if mask.mode == "1" and str(tags.get(SOFTWARE, "")).startswith("tifffile") and tags.get(PHOTOMETRIC) == 0:
        return ~pixels  # tifffile, and so scikit-image, marks True as black
    if mask.format == "TIFF" and mask.mode in ("L", "I") and bits[0] in (8, 32):  # Pillow confuses their signs
        return pixels.view(f"{'i' if tags.get(SAMPLE_FORMAT) == SIGNED else 'u'}{pixels.dtype.itemsize}")
    return pixels


def _planes(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Returns numbers `(H, W)` or colors `(H, W, 3)`, without alpha and axes of length 1."""
    shape = pixels.shape
    if pixels.ndim == 3 and shape[-1] == 2:
        pixels = pixels[..., :1]
    if pixels.ndim == 3 and 1 in (shape[0], pixels.shape[-1]) and shape[-1] not in (3, 4):
        pixels = pixels[0] if shape[0] == 1 and pixels.shape[-1] != 1 else pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        return pixels[..., :3]
    if pixels.ndim != 2 or pixels.dtype.kind not in "buif":
        raise ValueError(f"{path}: a mask must be numbers (H, W) or colors (H, W, 3), got {pixels.dtype} {shape}")
    return pixels


def _further_pages(image: Image.Image) -> int:
    """Returns the number of pages after the first, without the overviews of a TIFF file."""
    count = 0
    for page in range(1, getattr(image, "n_frames", 1)):
        image.seek(page)
        count += not getattr(image, "tag_v2", {}).get(SUBFILE, 0) & REDUCED_OR_MASK
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    return count
