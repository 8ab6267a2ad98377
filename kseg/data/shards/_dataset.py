"""A data set from containers: packed shards, Parquet files of Hugging Face, tar files of WebDataset."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.data.dataset import MEMORY_LIMIT, ClassCounts
from kseg.data.decoding.decoded import Content
from kseg.data.files import File, FileDataset
from kseg.data.pixels import Pixels
from kseg.data.shards import opening
from kseg.data.shards.cache import CACHE_LIMIT
from kseg.data.shards.lossless import read_array
from kseg.data.shards.packed import Packed
from kseg.data.shards.places import Place


class ShardDataset(FileDataset):
    """Images and masks in a few large files instead of a folder of many small ones.

    Three kinds are read, and nothing is unpacked:

    - what `kseg datasets pack` wrote, which states its classes and how its masks are read: leave the other options out;
    - Parquet files of Hugging Face `datasets` with a column of images and one of masks;
    - tar files of WebDataset with pairs such as `7.jpg` and `7.png`, `7.mask.png` or `7.seg.png`.

    Memory depends on the number of files and, for tar files, on a table of offsets on the disk, not on the images. The
    pairs, their order and so the batches of packed shards are those of the data set that was packed.

    Args:
        place: The folder, or a pattern such as `"data/{split}-*.parquet"`, on the disk or at an address that fsspec
            knows, such as `"gs://bucket/cells"`. Packed shards at an address are downloaded once into `KSEG_HOME`; of
            Parquet and tar files, only what is needed is read.
        split: `"train"`, `"val"` or `"test"`; `valid` and `validation` mean `val`. None takes all Parquet or tar files.
        classes: Class names in the order of their ids.
        palette: One color per class, with which RGB masks are decoded.
        ignore: Mask values or RGB colors to ignore, besides 255.
        values: The mask value of each class if not 0, 1, 2, ...
        images: The column of the images, or what follows the name of a pair in a tar file, such as `"jpg"`; by default
            the usual names are tried.
        masks: That of the masks, such as `"label"` or `"seg.png"`.
        pixels: What the numbers of the image files mean.
        channels: Number of channels of the images; None: that of `pixels`.
        name: Name of the data set; by default that of the packed one, or of the folder.
        memory_limit: Bytes of decoded pairs to keep in memory.
        cache_limit: Bytes of downloaded shards that `KSEG_HOME` may hold.
        interface: Where messages are read: `"python"`, `"recipe"` or `"command"`.

    Raises:
        FileNotFoundError: If there are no such files, or the index of packed ones is missing.
        ValueError: If an option is invalid or missing, contradicts what the files state, or the files contain no
            images or masks.
        ModuleNotFoundError: If fsspec or pyarrow is needed and missing.

    Example:
        >>> import io, tarfile, tempfile
        >>> from PIL import Image
        >>> path = os.path.join(tempfile.mkdtemp(), "train-0.tar")
        >>> with tarfile.open(path, "w") as tar:
        ...     for name, mode in (("7.jpg", "RGB"), ("7.mask.png", "L")):
        ...         content = io.BytesIO()
        ...         Image.new(mode, (6, 4)).save(content, name.split(".")[-1].replace("jpg", "jpeg"))
        ...         member = tarfile.TarInfo(name)
        ...         member.size = len(content.getvalue())
        ...         tar.addfile(member, io.BytesIO(content.getvalue()))
        >>> dataset = ShardDataset(os.path.dirname(path), "train", classes=["background", "cell"])
        >>> len(dataset), dataset.identifier(0), dataset[0][0].shape, dataset[0][1].shape
        (1, '7', (4, 6, 3), (4, 6))
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        split: str | None,
        *,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        ignore: int | str | Sequence[int | str | Sequence[int]] = (),
        values: Sequence[int] | None = None,
        images: str | None = None,
        masks: str | None = None,
        pixels: Pixels = Pixels(),
        channels: int | None = None,
        name: str | None = None,
        memory_limit: int = MEMORY_LIMIT,
        cache_limit: int = CACHE_LIMIT,
        interface: str = "python",
    ) -> None:
        self.place, self.interface, self.split = Place.of(place), interface, split
        given: dict[str, Any] = {
            "palette": palette, "ignore": ignore, "values": values, "channels": channels, "pixels": pixels,
        }  # fmt: skip
        with self._worded():
            self.records = opening.open_records(self.place, split, images, masks, cache_limit)
            packed = self.records.index if isinstance(self.records, Packed) else None
            if packed is not None:
                opening.check_stated(self.place, packed, classes, {**given, "images": images, "masks": masks})
                name, classes, given = name or packed.name, packed.classes, opening.arguments(packed)
            elif classes is None:
                raise ValueError(
                    f"{self.place} does not state its classes: name them in the order of their ids, such as "
                    'classes=["background", "cell"]'
                )
        name = name or opening.name_of_set(self.place)
        super().__init__(name, classes, memory_limit=memory_limit, interface=interface, **given)
        self.arrays = packed is not None and packed.arrays
        self.drawn = packed is not None and packed.drawn
        if packed is not None:
            self.palette = packed.palette
            self.marks_void, self.reader.void_is_255 = packed.marks_void, packed.void_is_255

    def __len__(self) -> int:
        return len(self.records)

    def identifier(self, index: int) -> str:
        return self.records.name(index)

    def files(self, index: int) -> tuple[Content, Content]:
        record = self.records.record(index)
        return record.image, record.mask

    def size(self, index: int) -> tuple[int, int]:
        return self.records.size(index) or super().size(index)

    def has_one_size(self) -> bool:
        return self.records.index.has_one_size() if isinstance(self.records, Packed) else super().has_one_size()

    def class_counts(self) -> ClassCounts | None:
        return self.records.index.class_counts() if isinstance(self.records, Packed) else None

    def contents(self) -> list[list[Any]]:
        """Returns the name of each file, the number of its pairs, and what changes with its content."""
        return self.records.contents()

    def read_label(self, image: File, mask: File, size: tuple[int, int]) -> np.ndarray:
        return read_array(mask)[..., 0] if self.drawn else super().read_label(image, mask, size)

    def read_image(self, image: File, *, is_first: bool = False) -> np.ndarray:
        return read_array(image) if self.arrays else super().read_image(image, is_first=is_first)

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._checked(*self.read(index), f"{self.name} {index}")  # the name would be read a second time
