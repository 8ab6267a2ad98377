"""What an image file claims to be, checked by its header before anything is decoded.

A file of a few kilobytes can claim billions of pixels, some formats can name other files, and Pillow decodes some kinds
byte by byte in Python. Only formats that hold their pixels themselves, whose sizes can be read beforehand, and whose
decoders are fast, are accepted.
"""

import io
import math
import re
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from kseg.data import picture_size
from kseg.serve.refusal import RefusedError

KINDS = {
    b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"BM": "BMP", b"GIF8": "GIF", b"P": "PNM",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\x93NUMPY": "NumPy",
}  # fmt: skip
"""The formats that are accepted, by their first bytes."""
SCANS = 100
"""Largest number of scans of a JPEG file: each passes over the whole image."""
PAGES = 10_000
"""Largest number of pages of a TIFF file."""
PIECES = 2**17
"""Largest number of strips or tiles of a page of a TIFF file."""
HEADER = 1000
"""Largest number of bytes of the header of a PNM file, which Pillow reads one by one."""
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM = re.compile(rb"P4(?:%b\d+){2}\s|P[56](?:%b\d+){2}%b(?:255|65535)\s" % (_GAP, _GAP, _GAP))


def check_claims(content: bytes, *, most_pixels: int, most_bytes: int) -> None:
    """Refuses a file that is no image of an accepted format, or too large, without decoding it.

    Args:
        content: The file.
        most_pixels: Largest product of height and width.
        most_bytes: Largest size of the decoded numbers, all pages and bands included.

    Raises:
        RefusedError: If the image is larger, or its format is not accepted.
        ValueError: If the file is damaged, or names other files.
    """
    kind = _kind(content)
    if kind == "NumPy":
        claims = [_array(content)]
    elif kind == "TIFF":
        claims = _tiff(content)
    else:
        _check_decoder(kind, content)
        height, width = picture_size(io.BytesIO(content))
        claims = [(height, width, 0)]
    for height, width, size in claims:
        if height * width > most_pixels:
            raise RefusedError(
                413,
                f"{width} x {height} pixels, more than {most_pixels:,}: cut or shrink the image, or start the service "
                "with a larger --max-megapixels",
            )
        if size > most_bytes:
            raise RefusedError(413, f"{size:,} bytes when decoded, more than {most_bytes:,}: send fewer bands or pages")


def _kind(content: bytes) -> str:
    kind = next((kind for head, kind in KINDS.items() if content.startswith(head)), "")
    if (kind == "WebP" and content[8:12] != b"WEBP") or (kind == "PNM" and not re.match(rb"P[1-6]\s", content)):
        kind = ""
    if not kind:
        accepted = ", ".join(dict.fromkeys(KINDS.values()))
        raise RefusedError(415, f"not an image in a format that is accepted: send {accepted}")
    return kind


def _check_decoder(kind: str, content: bytes) -> None:
    """Refuses what takes Pillow many seconds."""
    if kind == "JPEG" and content.count(b"\xff\xda") > SCANS:
        raise ValueError(f"the image: a JPEG file of more than {SCANS} scans: save it again")
    if kind == "PNM" and not _PNM.match(content[:HEADER]):
        raise ValueError(
            "the image: a PNM file must be binary (P4, P5, P6), have a largest value of 255 or 65535, and a header of "
            f"at most {HEADER} bytes: save it as PNG"
        )
    if kind == "BMP" and content[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        raise ValueError("the image: a BMP file with run-length encoding: save it as PNG")


def _array(content: bytes) -> tuple[int, int, int]:
    file = io.BytesIO(content)
    try:
        read: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        shape, _, dtype = read(file)
    except Exception as error:  # of several types
        raise ValueError(f"the image: not a NumPy file that can be read ({error})") from None
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"the image: an array must be integers or floats, (H, W) or (H, W, C), got {dtype} {shape}")
    if size > len(content) - file.tell():
        raise ValueError(f"the image: the file ends early: {len(content) - file.tell():,} of {size:,} bytes")
    return shape[0], shape[1], size


def _tiff(content: bytes) -> list[tuple[int, int, int]]:
    """Returns the claims of each page, as Pillow reads them, and of each stack of pages, as tifffile reads them."""
    try:
        claims = _pages(io.BytesIO(content))
    except Exception as error:  # of many types
        raise ValueError(f"the image: not a TIFF file that can be read ({error})") from None
    if any(size < 0 for *_, size in claims):
        raise ValueError(f"the image: a TIFF file of more than {PIECES:,} strips or tiles: save it with larger ones")
    try:
        import tifffile
    except ImportError:
        return claims
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tif:
            named = set(re.findall(r'FileName="([^"]*)"', tif.pages.first.description)) if tif.is_ome else set()
            stacks = [] if len(named) > 1 else [int(one.nbytes) for one in tif.series]
    except Exception as error:  # of many types
        raise ValueError(f"the image: not a TIFF file that can be read ({error})") from None
    if len(named) > 1:
        raise ValueError("the image: an OME-TIFF image of several files: send one file with all its pages")
    return [*claims, *((0, 0, size) for size in stacks)]


def _pages(file: Any) -> list[tuple[int, int, int]]:
    head = file.read(8)
    head += file.read(8) if 43 in head[2:4] else b""
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2(head)
    claims: list[tuple[int, int, int]] = []
    places: set[int] = set()
    place = tags.next
    while place:
        if place in places or len(places) >= PAGES:
            raise ValueError(f"its pages form a circle, or are more than {PAGES:,}")
        places.add(place)
        file.seek(place)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        tags.load(file)
        place = tags.next
        height, width, bands = int(tags[257]), int(tags[256]), int(tags.get(277, 1))
        piece = (int(tags.get(323, 0)) or min(int(tags.get(278, height)), height), int(tags.get(322, 0)) or width)
        depth = -(-int(np.max(tags.get(258, 1))) // 8)
        most = max(height * width, piece[0] * piece[1])
        pieces = len(tags.get(324, tags.get(273, ())))
        claims.append((height, width, most * bands * depth if pieces <= PIECES else -1))
    return claims
