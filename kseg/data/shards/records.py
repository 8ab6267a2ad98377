"""One record of a shard: an image file and its mask file as they are, behind a header in JSON."""

import json
import struct
from dataclasses import dataclass

import numpy as np

from kseg.data.decoding.decoded import Content

MAGIC = b"kseg"
PREFIX = struct.Struct("<4sIQQ")
"""`MAGIC` and the number of bytes of the header, the image and the mask, which follow in this order."""


@dataclass(frozen=True)
class Record:
    """One pair of a container.

    Args:
        name: The name of the pair, unique within its split.
        image: The image file, whose name is that of the container and of the file in it.
        mask: The mask file.
        size: Height and width of the upright image, if the container states them.
    """

    name: str
    image: Content
    mask: Content
    size: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of both files."""
        return self.image.getbuffer().nbytes + self.mask.getbuffer().nbytes


def encode(record: Record) -> bytes:
    """Returns the bytes of a record; the names of its files should be relative.

    Example:
        >>> record = Record("7", Content("images/7.jpg", b"image"), Content("masks/7.png", b"mask"), (4, 6))
        >>> found = decode(encode(record), "train/00000.array_record")
        >>> found.name, found.size, found.image.name, found.mask.read()
        ('7', (4, 6), 'train/00000.array_record/images/7.jpg', b'mask')
    """
    fields = {"name": record.name, "image": record.image.name, "mask": record.mask.name, "size": record.size}
    head = json.dumps(fields, separators=(",", ":")).encode()
    image, mask = record.image.getvalue(), record.mask.getvalue()
    return PREFIX.pack(MAGIC, len(head), len(image), len(mask)) + head + image + mask


def decode(data: bytes, shard: str) -> Record:
    """Reads what `encode` returned.

    Args:
        data: The bytes.
        shard: The name of the file that contains them, for messages.

    Raises:
        ValueError: If the bytes are no record.
    """
    fault = f"{shard}: a record is not one of kseg: pack the data set again, kseg datasets pack RECIPE FOLDER"
    if len(data) < PREFIX.size:
        raise ValueError(fault)
    magic, *lengths = PREFIX.unpack_from(data)
    if magic != MAGIC or PREFIX.size + sum(lengths) != len(data):
        raise ValueError(fault)
    head_end, image_end, mask_end = (PREFIX.size + int(end) for end in np.cumsum(lengths))
    fields = json.loads(data[PREFIX.size : head_end])
    image = Content(f"{shard}/{fields['image']}", data[head_end:image_end])
    mask = Content(f"{shard}/{fields['mask']}", data[image_end:mask_end])
    height, width = fields["size"]
    return Record(fields["name"], image, mask, (height, width))
