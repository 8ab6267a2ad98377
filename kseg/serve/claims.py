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

from kseg.data import picture_size
from kseg.serve.refusal import RefusedError
from kseg.serve.tiff_claims import claims_of_tiff

KINDS = {
    b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"BM": "BMP", b"GIF8": "GIF", b"P": "PNM",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\x93NUMPY": "NumPy",
}  # fmt: skip
"""The formats that are accepted, by their first bytes."""
SCANS = 100
"""Largest number of scans of a JPEG file: each passes over the whole image."""
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
        claims = claims_of_tiff(content)
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
