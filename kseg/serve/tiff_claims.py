"""What a TIFF file claims: its pages, its tables, and the stacks that its descriptions make of the pages.

Both Pillow and tifffile make lists as long as the tables and descriptions say, before a pixel is decoded.
"""

import io
import math
import re
import struct
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import TiffImagePlugin

PAGES = 1000
"""Largest number of pages of a file."""
PIECES = 2**17
"""Largest number of tags, strips and tiles of all pages together, and of planes of an OME description."""
NUMBERS = 2**25
"""Largest number of characters and numbers in the tags of all pages together."""
OME = 2**21
"""Largest number of characters of an OME description."""
_READ = (256, 257, 258, 273, 277, 278, 322, 323, 324, 330)
"""The tags whose numbers are read: sizes of the image, its strips and tiles, where they lie, and smaller images."""


def claims_of_tiff(content: bytes) -> list[tuple[int, int, int]]:
    """Returns the claims of each page, as Pillow reads them, and of each stack of pages, as tifffile reads them.

    Args:
        content: The file.

    Returns:
        Height, width and size in bytes when decoded of each page; 0, 0 and the size of each stack.

    Raises:
        ValueError: If the file is damaged, names other files, or has longer tables than are accepted.
    """
    try:
        claims = _pages(io.BytesIO(content))
        try:
            import tifffile
        except ImportError:
            return claims
        with tifffile.TiffFile(io.BytesIO(content)) as tif:
            if tif.is_mmstack:
                raise ValueError("a stack of Micro-Manager: save it as OME-TIFF or as single pages")
            if tif.is_ome:
                _check_ome(tif.pages.first.description, len(claims), min(height * width for height, width, _ in claims))
            return [*claims, *((0, 0, int(one.nbytes)) for one in tif.series)]
    except Exception as error:  # of many types
        raise ValueError(f"the image: not a TIFF file that can be read ({error})") from None


def _pages(file: Any) -> list[tuple[int, int, int]]:
    head = file.read(8)
    head += file.read(8) if 43 in head[2:4] else b""
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2(head)
    claims: list[tuple[int, int, int]] = []
    places: set[int] = set()
    place, pieces, numbers = tags.next, 0, 0
    while place:
        if place in places or len(places) >= PAGES:
            raise ValueError(f"its pages form a circle, or are more than {PAGES:,}")
        places.add(place)
        for tag, count in _tags(file, place, head):
            pieces += 1 + (count if tag in _READ else 0)
            numbers += count
            if pieces > PIECES:
                raise ValueError(
                    f"it has more than {PIECES:,} tags, strips and tiles: save it with larger strips or tiles"
                )
            if numbers > NUMBERS:
                raise ValueError(f"its tags hold more than {NUMBERS:,} numbers: save it without them")
        file.seek(place)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        tags.load(file)
        place = tags.next
        height, width, bands = int(tags[257]), int(tags[256]), int(tags.get(277, 1))
        piece = (int(tags.get(323, 0)) or min(int(tags.get(278, height)), height), int(tags.get(322, 0)) or width)
        depth = -(-int(np.max(tags.get(258, 1))) // 8)
        claims.append((height, width, max(height * width, piece[0] * piece[1]) * bands * depth))
    return claims


def _tags(file: Any, place: int, head: bytes) -> Any:
    """Returns the tags of a page without reading what they hold: the number of each, and how many numbers it holds."""
    number, entry = ("Q", "HHQ8x") if len(head) == 16 else ("H", "HHI4x")
    order = "<" if head.startswith(b"II") else ">"
    file.seek(place)
    (count,) = struct.unpack(order + number, file.read(struct.calcsize(order + number)))
    content = file.read(min(count, PIECES + 1) * struct.calcsize(order + entry))
    content = content[: len(content) // struct.calcsize(order + entry) * struct.calcsize(order + entry)]
    return ((tag, many) for tag, _, many in struct.iter_unpack(order + entry, content))


def _check_ome(text: str, pages: int, smallest: int) -> None:
    """Refuses an OME description of several files, or with which tifffile would make long lists.

    Args:
        text: The description.
        pages: Number of pages of the file.
        smallest: Height times width of the smallest page.

    Raises:
        ValueError: If it is refused.
    """
    if len(text) > OME:
        raise ValueError(f"its OME description has more than {OME:,} characters: save it without metadata")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return  # tifffile does not use it either
    names, planes = set(), 0.0
    for element in root.iter():
        has = element.attrib
        if element.tag.endswith("UUID"):
            names.add(has.get("FileName"))
        elif element.tag.endswith("Pixels"):
            if not re.fullmatch("XY[CTZ]{3}", has["DimensionOrder"]):
                raise ValueError(f"its OME description has the order {has['DimensionOrder']:.20}: save it as XYCZT")
            sides = [max(1, int(has[f"Size{axis}"])) for axis in "XYCZT"]
            planes += max(math.prod(sides[2:]), math.prod(sides) // max(1, smallest))
        elif element.tag.endswith("TiffData"):
            planes += max(1, *(int(has.get(name, 0)) for name in ("NumPlanes", "PlaneCount"))) if has else pages
        elif element.tag[:-1].endswith("Along") and "Start" in has:
            planes += abs((float(has["End"]) - float(has["Start"])) / float(has.get("Step", 1)))
        if not planes <= PIECES:
            raise ValueError(f"its OME description claims more than {PIECES:,} planes: save it without metadata")
    if len(names - {None}) > 1:
        raise ValueError("an OME-TIFF image of several files: send one file with all its pages")
