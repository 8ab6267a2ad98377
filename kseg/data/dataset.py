"""The data set interface: images and label maps by index, class names, a palette and an ignored value."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kseg.classes import check_names
from kseg.data.masks import IGNORE, label_map
from kseg.data.picture import check_values
from kseg.data.pixels import WarnOnce
from kseg.visualize import Color, default_palette

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded pairs that one data set may keep


class ClassCounts(NamedTuple):
    """The labels of a data set, counted: int64 `(classes,)` twice, and a number.

    Attributes:
        pixels: Number of pixels of each class.
        around: Number of pixels of the images that contain it, void included.
        total: Number of pixels, void included.
    """

    pixels: np.ndarray
    around: np.ndarray
    total: int


class Dataset:
    """One split of a data set: `dataset[i]` is the i-th `(image, label)` pair.

    To define your own data set, override `__len__`, `read` and, if images have names, `identifier`. Pairs are kept in
    memory after the first read until `memory_limit` is reached; further pairs are read each time. Threads can share a
    data set.

    Args:
        name: Name of the data set in tables and messages.
        classes: Class names; the position of a name is its class id in label maps.
        palette: One `(red, green, blue)` color per class, 0 to 255. `None` uses `kseg.visualize.default_palette`.
        memory_limit: Bytes of decoded pairs to keep in memory; 0 keeps none.

    Raises:
        ValueError: If there are fewer than 2 or more than 255 classes, a name is empty or occurs twice, or the palette
            does not have one color per class.

    Example:
        >>> from kseg import data
        >>> image, label = data.load("streets", "val")[0]
        >>> image.shape, image.dtype, label.shape, label.dtype
        ((128, 160, 3), dtype('uint8'), (128, 160), dtype('uint8'))
    """

    ignore_class = IGNORE
    marks_void = False
    """Whether 255 is known to mark void. If not, labels in which it is the only value above 0 are refused, because it
    is more likely the foreground. Set it in a class of your own."""
    fault: Exception | None = None
    """The first read error. A loop that reads in threads can replace it with an error of its own."""

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        *,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        if isinstance(classes, str) or not 2 <= len(self.classes) <= IGNORE:
            raise ValueError(
                f"{name}: classes must be 2 to {IGNORE} names, including the background, e.g. "
                f'["background", "nucleus"]; got {classes!r}'
            )
        check_names(self.classes, name)
        self.palette: tuple[Color, ...] = _checked_palette(name, palette, len(self.classes))
        self.memory_limit = memory_limit
        self.warn = WarnOnce()
        self._channels: int | None = None  # of the first image
        self._forget()

    @property
    def num_classes(self) -> int:
        """Number of output channels of a model: the number of classes, or 1 (sigmoid) for two classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not implement __len__")

    def identifier(self, index: int) -> str:
        """Returns a name for the image that is unique within its split, such as the stem of its file."""
        return f"{index:06d}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads or draws one pair. Several threads can call this at the same time."""
        raise NotImplementedError(f"{type(self).__name__} does not implement read")

    def size(self, index: int) -> tuple[int, int]:
        """Returns height and width of one image; override this if the image need not be decoded."""
        height, width = self[index][0].shape[:2]
        return height, width

    def has_one_size(self) -> bool:
        """Returns whether all images have the same size; it stops at the first one that differs."""
        first = self.size(0)
        return all(self.size(index) == first for index in range(1, len(self)))

    def class_counts(self) -> ClassCounts | None:
        """Returns the pixels of each class in all labels if they are known without reading them, else None."""
        return None

    def only_void(self, *, foreground: bool, void: bool) -> str:
        """Returns what is wrong if labels contain 255 but no class above 0, and nothing is known about it, else ""."""
        if foreground or not void or self.marks_void:
            return ""
        return (
            f"{self.name}: labels contain 255, which means void, and no class above 0: if 255 is a class, return its "
            "id from read, e.g. label // 255; if it is void, set marks_void = True in the class of the data set"
        )

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns one pair.

        Args:
            index: Its position; negative positions count from the end.

        Returns:
            The image, `(H, W, C)`, uint8 or float with values from 0 to 255, and the label, uint8 `(H, W)`, 255 where
            ignored.

        Raises:
            IndexError: If there are fewer pairs.
            ValueError: If a file cannot be read, or the image or the label has another shape, type or other values.
        """
        index = range(len(self))[index]  # negative indices and IndexError like a list
        pair = self._kept.get(index)
        if pair is None:
            try:
                pair = self._pair(index)
            except (OSError, ValueError) as error:
                self.fault = self.fault or error
                raise
            size = pair[0].nbytes + pair[1].nbytes
            with self._lock:
                if index not in self._kept and self._kept_bytes + size <= self.memory_limit:
                    self._kept[index] = pair
                    self._kept_bytes += size
        return pair[0].copy(), pair[1].copy()

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._checked(*self.read(index), f"{self.name} {self.identifier(index)}")

    def _checked(self, image: np.ndarray, label: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns a pair that was read, with the label as uint8; errors and warnings begin with `name`."""
        image = np.asarray(image)
        self._check_image(image, name)
        self._channels = self._channels or image.shape[2]
        if image.shape[2] != self._channels:
            raise ValueError(other_channels(name, image.shape[2], self._channels))
        label = label_map(label, len(self.classes), name)
        if image.shape[:2] != label.shape:
            raise ValueError(f"{name}: the label is {label.shape} but the image is {image.shape[:2]}")
        return image, label

    def _check_image(self, image: np.ndarray, name: str) -> None:
        check_values(image, name, self.warn)

    def _forget(self) -> None:
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        # A lock cannot be pickled, and the images need not be.
        return {key: value for key, value in self.__dict__.items() if not key.startswith(("_lock", "_kept"))}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self)} images, {len(self.classes)} classes>"


def other_channels(name: str, found: int, first: int) -> str:
    """Returns the error about an image with another number of channels than the first of its data set."""
    return f"{name}: the image has {found} channels, an earlier one {first}: return as many from read"


def _checked_palette(name: str, palette: Sequence[Sequence[int]] | None, count: int) -> tuple[Color, ...]:
    if palette is None:
        return default_palette(count)
    colors = [tuple(int(value) for value in color) for color in palette]
    if len(colors) != count:
        raise ValueError(f"{name}: the palette has {len(colors)} colors for {count} classes")
    for color in colors:
        if len(color) != 3 or min(color) < 0 or max(color) > 255:
            raise ValueError(f"{name}: a palette color is (red, green, blue), each 0 to 255, got {color}")
    return tuple((red, green, blue) for red, green, blue in colors)
