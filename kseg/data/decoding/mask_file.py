"""Read the pixels of mask files as they are stored: indices, gray values of any depth, or colors."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kseg.data.decoding.decoded import Content, Refused, check_size, name_of, upright
from kseg.data.decoding.image_file import decode, imagej_pages, is_deep, load_array, open_pillow, orientation

SAMPLE_FORMAT, EXTRA_SAMPLES, SOFTWARE, PHOTOMETRIC, BITS, SUBFILE = 339, 338, 305, 262, 258, 254  # TIFF tags
SIGNED, OPACITY = (2,), {1, 2}
REDUCED_OR_MASK = 1 | 4  # bits of SUBFILE: an overview, or the transparency of another page


class Indexed(NamedTuple):
    """A palette image: indices, uint8 `(H, W)`, and the colors that the file gives them, uint8 `(n, 3)`."""

    indices: np.ndarray
    colors: np.ndarray


class Palettes:
    """The colors of the palette images that were read, to find those that number their colors differently."""

    def __init__(self) -> None:
        self.index_of: dict[tuple[int, ...], tuple[int, str]] = {}
        self.color_of: dict[int, tuple[tuple[int, ...], str]] = {}

    def fault(self, colors: Mapping[int, tuple[int, ...]], path: Path) -> str | None:
        """Returns how the colors of a file, by index, contradict those of a file that was read before."""
        for index, color in colors.items():
            other, file = self.index_of.setdefault(color, (index, path.name))
            if other != index:
                return f"index {index} has the color {color}, which index {other} has in {file}"
            earlier, file = self.color_of.setdefault(index, (color, path.name))
            if earlier != color:
                return f"index {index} has the color {color}, but {earlier} in {file}"
        return None


def read_mask(source: Path | Content) -> Indexed | np.ndarray:
    """Reads a mask file.

    Args:
        source: An image file with one page, or a NumPy file; also its bytes.

    Returns:
        Numbers `(H, W)` of the dtype of the file, colors `(H, W, 3)`, uint8 or uint16, or an `Indexed`; alpha is
        dropped, and the orientation of EXIF is applied, as for images.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it cannot be read, or has several pages or other bands.
    """
    path = name_of(source)
    try:
        if path.lower().endswith(".npy"):
            return _planes(np.array(load_array(source)), alpha=False)
        return _image_file(source)
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise MemoryError(f"{path}: {error}") from None
    except Refused as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # on damaged files, decoders raise errors of many types
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: cannot be read as a mask ({type(error).__name__}: {reason})") from error


def _image_file(source: Path | Content) -> Indexed | np.ndarray:
    with contextlib.ExitStack() as stack:
        # Of a name, Pillow would turn some TIFF files twice.
        file: Any = source if isinstance(source, Content) else stack.enter_context(open(source, "rb"))
        try:
            mask = open_pillow(file)
        except Image.UnidentifiedImageError:
            mask = None  # a TIFF file that Pillow cannot read, e.g. of 64 bits
        if mask is not None:
            check_size(mask.height, mask.width)
        try:
            pages = 1 if mask is None else _pages(mask)
        except SyntaxError:  # Pillow cannot read the page in which GDAL marks valid pixels
            mask, pages = None, 1
        if pages > 1:
            raise Refused(f"{pages} pages where a mask has one: save one of them")
        if mask is not None and not is_deep(mask):
            return _pillow(mask)
        if isinstance(source, Content):
            source.seek(0)
    decoded = decode(source, None, keep_alpha=False)
    return _planes(decoded.values, alpha=decoded.alpha is not None)


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
    if not OPACITY.issuperset(tags.get(EXTRA_SAMPLES, ())):
        raise Refused("a band of the mask is neither gray, color nor opacity: save it without this band")
    pixels = _planes(upright(np.array(mask), turn), alpha=True)
    if mask.mode == "1" and str(tags.get(SOFTWARE, "")).startswith("tifffile") and tags.get(PHOTOMETRIC) == 0:
        return ~pixels  # tifffile, and so scikit-image, marks True as black
    if mask.format == "TIFF" and mask.mode in ("L", "I") and bits[0] in (8, 32):  # Pillow confuses their signs
        return pixels.view(f"{'i' if tags.get(SAMPLE_FORMAT) == SIGNED else 'u'}{pixels.dtype.itemsize}")
    return pixels


def _planes(pixels: np.ndarray, *, alpha: bool) -> np.ndarray:
    """Returns numbers `(H, W)` or colors `(H, W, 3)`, without alpha and axes of length 1."""
    shape = pixels.shape
    if pixels.ndim == 3 and alpha and shape[-1] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    elif pixels.ndim == 3 and pixels.shape[0] == 1 and pixels.shape[-1] != 3:
        pixels = pixels[0]
    colors = pixels.ndim == 3 and pixels.shape[-1] == 3
    if (pixels.ndim != 2 and not colors) or pixels.dtype.kind not in "buif":
        raise Refused(
            f"a mask must be numbers (H, W) or colors (H, W, 3), got {pixels.dtype} {shape}: of one-hot labels, save "
            "argmax(axis=-1)"
        )
    return pixels


def _pages(image: Image.Image) -> int:
    """Returns the number of pages, without the overviews of a TIFF file."""
    count, stated = 1, imagej_pages(image)
    for page in range(1, getattr(image, "n_frames", 1)):
        image.seek(page)
        count += not getattr(image, "tag_v2", {}).get(SUBFILE, 0) & REDUCED_OR_MASK
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    return max(count, stated)
