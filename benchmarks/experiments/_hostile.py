"""Uploads that a service must refuse without harm: truncated, of wrong types, bombs, of huge dimensions.

Images of many sizes are among them: they are answered, but what is kept for each size would make memory grow.
"""

import io
import itertools
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image


def hostile(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields uploads of all kinds in turn, each with random details: a name and the content."""
    rng = np.random.default_rng(seed)
    for _, (name, make) in zip(range(count), itertools.cycle(KINDS.items()), strict=False):
        yield name, make(rng)


def photo(rng: np.random.Generator, kind: str = "PNG", size: tuple[int, int] = (48, 64), **options: object) -> bytes:
    """Returns an image file of noise."""
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, *chunks: bytes, mode: int = 2) -> bytes:
    """Returns a PNG file of zeros that claims this size; `chunks` lie before the pixels."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0))
    content = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _truncated(kind: str) -> Callable[[np.random.Generator], bytes]:
    def make(rng: np.random.Generator) -> bytes:
        content = photo(rng, kind)
        return content[: int(rng.integers(1, len(content) * 3 // 4))]

    return make


def _damaged(kind: str) -> Callable[[np.random.Generator], bytes]:
    """Some bytes are changed: the file may still be an image."""

    def make(rng: np.random.Generator) -> bytes:
        content = bytearray(photo(rng, kind))
        for place in rng.integers(0, min(len(content), 400), 8):
            content[place] = rng.integers(0, 256)
        return bytes(content)

    return make


def _array(shape: tuple[int, ...], descr: str = "|u1", content: bytes = b"\0" * 64) -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + content


def _objects(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[object, print]]), allow_pickle=True)
    return file.getvalue()


def _tiff(text: str = "", tags: Mapping[int, int] | None = None) -> bytes:
    """Returns a TIFF file of 16 x 16 gray pixels with a description; `tags` replaces or adds some of its numbers."""
    content = struct.pack("<2sHI", b"II", 42, 8 + 256 + len(text)) + bytes(256) + text.encode()
    numbers = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256} | dict(tags or {})
    entries = [(tag, struct.pack("<HHII", tag, 4, 1, value)) for tag, value in numbers.items()]
    if text:
        entries.append((270, struct.pack("<HHII", 270, 2, len(text), 8 + 256)))
    directory = b"".join(entry for _, entry in sorted(entries))
    return content + struct.pack("<H", len(entries)) + directory + bytes(4)


def _ome(name: str) -> bytes:
    """Returns an OME-TIFF file that says its second page lies in another file."""
    pages = "".join(
        f'<TiffData IFD="0" FirstT="{index}"><UUID FileName="{each}">urn:uuid:{index}</UUID></TiffData>'
        for index, each in enumerate(("a.ome.tif", name))
    )
    return _tiff(
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image>'
        '<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" SizeC="1" SizeZ="1" SizeT="2">'
        f"{pages}</Pixels></Image></OME>"
    )


def _claimed(sizes: str = 'SizeX="16" SizeY="16" SizeT="1"', data: str = "", more: str = "") -> bytes:
    """Returns an OME-TIFF file of one page that claims other sizes, planes or annotations."""
    return _tiff(
        f'<OME>{more}<Image><Pixels DimensionOrder="XYCZT" Type="uint8" SizeC="1" SizeZ="1" {sizes}><TiffData{data}/>'
        "</Pixels></Image></OME>"
    )


def _shared(pages: int = 300, count: int = 1000, tag: int = 273) -> bytes:
    """Returns a TIFF file whose pages share one table of strips."""
    numbers = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1, 279: 16} | {tag: 8}
    content = struct.pack("<2sHI", b"II", 42, 8 + 4 * count) + struct.pack("<I", 8) * count
    for page in range(pages):
        entries = (
            struct.pack("<HHII", each, 4, count if each == tag else 1, numbers[each]) for each in sorted(numbers)
        )
        directory = struct.pack("<H", len(numbers)) + b"".join(entries)
        content += directory + struct.pack("<I", len(content) + len(directory) + 4 if page + 1 < pages else 0)
    return content


def _circle() -> bytes:
    """Returns a TIFF file whose only page says that it follows itself."""
    content = bytearray(_tiff())
    start = struct.unpack("<I", content[4:8])[0]
    after = start + 2 + 12 * struct.unpack("<H", content[start : start + 2])[0]
    content[after : after + 4] = struct.pack("<I", start)
    return bytes(content)


def _scans(rng: np.random.Generator) -> bytes:
    """Returns a progressive JPEG file with many copies of its last scan."""
    content = photo(rng, "JPEG", (64, 64), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 200 + content[-2:]


def _runs(rng: np.random.Generator) -> bytes:
    """Returns a BMP file of 300 x 300 gray pixels, each a run of its own."""
    rows = (np.stack([np.ones(300, "uint8"), rng.integers(0, 256, 300, "uint8")], 1).tobytes() + b"\0\0") * 300
    sizes = (40, 300, 300, 1, 8, 1, len(rows) + 2, 0, 0, 0, 0)
    head = struct.pack("<2sIII", b"BM", 54 + 1024 + len(rows) + 2, 0, 54 + 1024) + struct.pack("<3i2H6I", *sizes)
    return head + bytes(1024) + rows + b"\0\1"


KINDS: dict[str, Callable[[np.random.Generator], bytes]] = {
    **{f"truncated {kind}": _truncated(kind) for kind in ("PNG", "JPEG", "WebP", "BMP", "GIF", "PPM", "TIFF")},
    **{f"damaged {kind}": _damaged(kind) for kind in ("PNG", "JPEG", "WebP", "BMP", "GIF", "PPM", "TIFF")},
    "empty": lambda rng: b"",
    "text": lambda rng: b"hello " * 100,
    "noise": lambda rng: rng.bytes(1000),
    "JSON": lambda rng: json.dumps({"path": "/etc/passwd"}).encode(),
    "a path": lambda rng: b"/etc/hostname",
    "SVG that names a file": lambda rng: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "VRT that names a file": lambda rng: (
        b"<VRTDataset><VRTRasterBand><SourceFilename>/etc/passwd</SourceFilename></VRTRasterBand></VRTDataset>"
    ),
    "PostScript": lambda rng: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "PDF": lambda rng: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "ZIP": lambda rng: b"PK\x03\x04" + rng.bytes(100),
    "PNG of huge dimensions": lambda rng: _png(2**31 - 1, 2**31 - 1),
    "PNG of any size": lambda rng: photo(rng, size=tuple(rng.integers(1, 97, 2))),
    "PNG bomb": lambda rng: _png(30_000, 30_000),
    "PNG of no pixels": lambda rng: _png(0, 0),
    "damaged palette": lambda rng: _png(64, 64, _chunk(b"PLTE", b"\0" * 5), mode=3),
    "PNG text bomb": lambda rng: _png(64, 64, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10 * 2**20), 9))),
    "PNG profile bomb": lambda rng: _png(64, 64, _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10 * 2**20), 9))),
    "JPEG of huge dimensions": lambda rng: photo(rng, "JPEG").replace(
        struct.pack(">HH", 48, 64), struct.pack(">HH", 65_000, 65_000), 1
    ),
    "JPEG of many scans": _scans,
    "GIF of huge dimensions": lambda rng: b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + photo(rng, "GIF")[10:],
    "GIF of many pages": lambda rng: photo(
        rng, "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48), (i, 0, 0)) for i in range(50)]
    ),
    "BMP of huge dimensions": lambda rng: photo(rng, "BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + b"\0" * 99,
    "PPM of huge dimensions": lambda rng: b"P6\n999999 999999\n255\n" + bytes(100),
    "plain PPM": lambda rng: b"P3\n100 100\n255\n" + b"7 " * 30_000,
    "plain PBM": lambda rng: b"P1\n300 300\n" + b"1" * 90_000,
    "PPM of a long comment": lambda rng: b"P6\n#" + b"a" * 50_000 + b"\n8 8\n255\n" + bytes(192),
    "PGM of an odd largest value": lambda rng: b"P5\n300 300\n254\n" + bytes(90_000),
    "BMP with run-length encoding": _runs,
    "PPM of a huge number": lambda rng: b"P6\n" + b"9" * 10_000 + b" 1\n255\n",
    "array of huge dimensions": lambda rng: _array((10**6, 10**6, 3)),
    "array of overflowing dimensions": lambda rng: _array((2**62, 2**62, 3)),
    "array of negative dimensions": lambda rng: _array((-1, 8, 3)),
    "array of four axes": lambda rng: _array((1, 4, 4, 3)),
    "array of floats that are no numbers": lambda rng: _array((4, 4, 1), "<f4", b"\xff" * 64),
    "array of text": lambda rng: _array((4, 4), "<U1"),
    "array of objects": _objects,
    "TIFF of huge dimensions": lambda rng: _tiff(tags={256: 2**31}),
    "TIFF of many bands": lambda rng: _tiff(tags={277: 60_000}),
    "TIFF of a huge strip": lambda rng: _tiff(tags={273: 2**31}),
    "TIFF of huge tiles": lambda rng: _tiff(tags={322: 2**20, 323: 2**20, 324: 8, 325: 256}),
    "TIFF in a circle": lambda rng: _circle(),
    "TIFF that names a file": lambda rng: _ome("/etc/passwd"),
    "TIFF of shared strips": lambda rng: _shared(),
    "OME of claimed times": lambda rng: _claimed('SizeX="16" SizeY="16" SizeT="200000000"'),
    "OME of claimed planes": lambda rng: _claimed(data=' PlaneCount="200000000"'),
    "OME of huge dimensions": lambda rng: _claimed('SizeX="200000" SizeY="200000" SizeT="1"'),
    "OME of claimed labels": lambda rng: _claimed(
        more='<StructuredAnnotations><XMLAnnotation ID="1" Namespace="modulo"><Value><Modulo><ModuloAlongT Start="0" '
        'End="200000000"/></Modulo></Value></XMLAnnotation></StructuredAnnotations>'
    ),
    "TIFF of claimed pages": lambda rng: _tiff('{"shape": [100000, 16, 16]}'),
    "damaged frames": lambda rng: _tiff("ImageJ=1.53\nimages=100000\nframes=100000\n"),
}
"""The kinds of uploads by their names."""
