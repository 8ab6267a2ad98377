"""Data sets whose images and masks are files: in folders, or as bytes in containers."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.dataset import MEMORY_LIMIT, Dataset
from kseg.data.decoding.decoded import Content, name_of
from kseg.data.masks import IGNORE, MaskReader
from kseg.data.picture import picture_size, read_picture
from kseg.data.pixels import Pixels
from kseg.data.wording import reword

ROUNDED = "rounded to 8 bits like the first image: save all images with the same bit depth"
VOTERS = 32  # masks that decide together whether 255 is void

File = Path | Content
"""The path of an image or a mask, or its bytes."""


class FileDataset(Dataset):
    """Images and masks that are files or the bytes of files. A subclass implements `__len__`, `files`, `identifier`.

    Args:
        name: Name of the data set.
        classes: Class names in the order of their ids.
        palette: One color per class, with which RGB masks are decoded.
        ignore: Mask values or RGB colors to ignore, besides 255; names of objects, for annotations, have no effect.
        values: The mask value of each class if not 0, 1, 2, ...
        pixels: What the numbers of the image files mean.
        channels: Number of channels of the images; None: that of `pixels`.
        memory_limit: Bytes of decoded pairs to keep in memory.
        interface: Where messages are read: `"python"`, `"recipe"` or `"command"`. They name options accordingly.

    Raises:
        ValueError: If an option is invalid.
    """

    split: str | None = None

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        *,
        ignore: int | str | Sequence[int | str | Sequence[int]] = (),
        values: Sequence[int] | None = None,
        pixels: Pixels = Pixels(),
        channels: int | None = None,
        memory_limit: int = MEMORY_LIMIT,
        interface: str = "python",
    ) -> None:
        self.interface = interface
        super().__init__(name, classes, palette, memory_limit=memory_limit)
        if None not in (channels, pixels.bands) and channels != pixels.channels:
            raise ValueError(f"{self.name}: channels={channels}, but there are {pixels.channels} bands: leave one out")
        self.pixels = pixels if channels is None else dataclasses.replace(pixels, channels=channels)
        self.channels = self.pixels.channels
        self._dtype: np.dtype[Any] | None = None
        ignore = (ignore,) if isinstance(ignore, int | str) else tuple(ignore)
        self.ignored_names = [value for value in ignore if isinstance(value, str)]
        self.mask_options: dict[str, Any] = {
            "palette": None if palette is None else self.palette,
            "ignore": [value for value in ignore if not isinstance(value, str)],
            "values": values,
        }
        with self._worded():
            self.reader = MaskReader(self.classes, **self.mask_options)

    def files(self, index: int) -> tuple[File, File]:
        """Returns the files of an image and its mask; raises a ValueError if one is missing."""
        raise NotImplementedError(f"{type(self).__name__} does not implement files")

    def image_file(self, index: int) -> File:
        """Returns the file of an image."""
        return self.files(index)[0]

    def size(self, index: int) -> tuple[int, int]:
        with self._worded():
            return picture_size(self.image_file(index), page=self.pixels.page)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        with self._worded():
            image, mask = self.files(index)
            picture = self.read_image(image, is_first=index == 0)
            return picture, self.read_label(image, mask, (picture.shape[0], picture.shape[1]))

    def read_label(self, image: File, mask: File, size: tuple[int, int]) -> np.ndarray:
        """Reads the label map of an image of this height and width."""
        label = self.read_mask(mask)
        if label.shape != size:
            found, wanted = (f"{height}x{width}" for height, width in (label.shape, size))
            name = Path(name_of(image)).name
            raise ValueError(f"{name_of(mask)}: the mask is {found} but its image {name} is {wanted}")
        return label

    def read_mask(self, mask: File) -> np.ndarray:
        """Reads one mask as a label map."""
        raw = self.reader.raw(mask)
        if self.reader.looks_black_and_white(raw):
            self.reader.void_is_255 = self._has_void()
        return self.reader.decode(raw, name_of(mask))

    def _has_void(self) -> bool:
        """Returns whether 255 marks void: most masks that contain it have more pixels of classes above 0."""
        votes = 0
        for index in np.unique(np.linspace(0, len(self) - 1, VOTERS).astype(int)):
            with contextlib.suppress(ValueError, OSError):
                raw = self.reader.raw(self.files(int(index))[1])
                if raw.ndim == 2 and (raw == IGNORE).any():
                    votes += -1 if self.reader.looks_black_and_white(raw) else 1
        return votes > 0

    def read_image(self, image: File, *, is_first: bool = False) -> np.ndarray:
        """Reads one image, `(H, W, channels)`; all have the type of the first, uint8 or float32."""
        picture = self._picture(image)
        if self._dtype is None:  # batches cannot change their type
            self._dtype = picture.dtype
            if self.pixels.range is None and not is_first:
                with contextlib.suppress(ValueError, OSError):  # a damaged one is named where it is read itself
                    self._dtype = self._picture(self.image_file(0)).dtype
        if self._dtype == np.uint8 and picture.dtype != np.uint8:
            self.warn(name_of(image), ROUNDED)
            picture = np.rint(picture)
        return picture.astype(self._dtype, copy=False)

    def _check_image(self, image: np.ndarray, name: str) -> None:
        """Does nothing, because the reader of the files has checked the image."""

    def _picture(self, image: File) -> np.ndarray:
        return read_picture(image, self.pixels, on_warning=lambda name, doubt: self.warn(name, self.worded(doubt)))

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        """Names options in errors as the user's interface does."""
        try:
            yield
        except (ValueError, FileNotFoundError) as error:
            if (text := self.worded(str(error))) == str(error):
                raise
            raise (FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError)(text) from None

    def worded(self, text: str) -> str:
        """Returns a message with the names of options at the user's interface."""
        return reword(text, self.interface)


def compare_palettes(*splits: Dataset | Exception | None) -> None:
    """Lets palette masks of several splits be compared: those that number their colors differently are refused."""
    files = [split for split in splits if isinstance(split, FileDataset)]
    for split in files[1:]:
        split.reader.palettes = files[0].reader.palettes
