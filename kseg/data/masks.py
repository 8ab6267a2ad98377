"""Convert masks (class ids, palette PNGs, RGB colors) to label maps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kseg.classes import listing, whole
from kseg.data.decoding.decoded import Content, name_of
from kseg.data.decoding.mask_file import Indexed, Palettes, read_mask

STRAY, IGNORE, WHITE_16 = -1, 255, 65535
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class MaskReader:
    """Reads mask files as label maps, uint8 `(H, W)`, 255 where ignored; `FolderDataset` describes the arguments."""

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        *,
        ignore: int | Sequence[int | Sequence[int]] = (),
        values: Sequence[int] | None = None,
    ) -> None:
        self.classes, self.palette = tuple(classes), palette
        if len(self.classes) > IGNORE:
            raise ValueError(f"{len(self.classes)} classes do not fit 8 bits, where {IGNORE} is void: {IGNORE} at most")
        ignore = (ignore,) if isinstance(ignore, int) else ignore
        self.void_is_255 = IGNORE in ignore  # stated by the user, so not a likely mistake
        self.values_given = values is not None
        self.palettes = Palettes()
        values = range(len(self.classes)) if values is None else values
        if len(values) != len(self.classes):
            raise ValueError(f"values lists {len(values)} mask values for {len(self.classes)} classes")
        ignored = [int(value) for value in ignore if isinstance(value, int)]
        colors = [tuple(value) for value in ignore if not isinstance(value, int)]
        self.of_value = _table(values, ignored, "mask value")
        self.of_color = _table(
            [_code(color) for color in palette or ()], [_code(color) for color in colors], "palette color"
        )
        self.of_value.setdefault(IGNORE, IGNORE)

    def read(self, source: Path | Content) -> np.ndarray:
        """Reads one mask file as a label map."""
        return self.decode(self.raw(source), name_of(source))

    def raw(self, source: Path | Content) -> np.ndarray:
        """Reads the pixels of a mask file: numbers `(H, W)`, or `(H, W, 3)` colors if the palette gives the classes."""
        mask, path = read_mask(source), Path(name_of(source))
        if isinstance(mask, Indexed):
            return self._indexed(mask, path)
        if self._is_8_bits_written_as_16(mask):
            mask = (mask // 257).astype(np.uint8)
        if mask.ndim == 2:
            return self._gray(mask, path)
        gray = (mask == mask[..., :1]).all()
        if self.palette is None and not gray:
            colors, counts = np.unique(mask.reshape(-1, mask.shape[-1]), axis=0, return_counts=True)
            found = {str(tuple(color.tolist())): int(n) for color, n in zip(colors, counts, strict=True)}
            raise ValueError(
                f"{path}: this is a color mask and there is no palette; give palette=, one (red, green, blue) for each "
                f"class; its colors are {listing(found)}"
            )
        if self.palette is None or (gray and mask.dtype != np.uint8):
            return mask[..., 0]
        if mask.dtype != np.uint8:
            raise ValueError(f"{path}: a color mask must have 8 bits per channel, this one is {mask.dtype}: convert it")
        return mask

    def _is_8_bits_written_as_16(self, mask: np.ndarray) -> bool:
        """Returns whether colors, or gray levels with white, of 16 bits are those of a palette of 8 bits."""
        if self.palette is None or mask.dtype != np.uint16 or WHITE_16 in self.of_value or (mask % 257).any():
            return False
        return mask.ndim == 3 or bool((mask == WHITE_16).any())

    def _gray(self, mask: np.ndarray, path: Path) -> np.ndarray:
        """Returns a gray mask, as colors if a level is no mask value and all levels are colors of the palette."""
        is_bit = mask.dtype.kind == "b"
        levels = mask * np.uint8(IGNORE) if is_bit else mask
        if self.palette is not None and not self.values_given and levels.dtype == np.uint8:
            present = np.flatnonzero(np.bincount(levels.ravel(), minlength=256)).tolist()
            known = self.of_value.keys() - (() if self.void_is_255 else {IGNORE})
            if not known.issuperset(present) and all(_code([level] * 3) in self.of_color for level in present):
                if self.of_color.get(0, 0) != 0:
                    raise ValueError(
                        f"{path}: black is the color of another class than the mask value 0, so the meaning of this "
                        "gray mask is open: give values=, the gray level of each class, or save it in color"
                    )
                return np.repeat(levels[..., None], 3, axis=-1)
        if is_bit and (1 in self.of_value or self.of_value[IGNORE] == IGNORE):  # else values=[0, 255]
            return mask.astype(np.uint8)
        return levels

    def _indexed(self, mask: Indexed, path: Path) -> np.ndarray:
        """Returns the indices of a palette image, or its colors if these are the colors of other classes."""
        indices, colors = mask.indices, [tuple(color) for color in mask.colors.tolist()]
        present = np.flatnonzero(np.bincount(indices.ravel(), minlength=256)).tolist()
        # A color that occurs twice is padding, as in files whose index 255 is void, and decides nothing.
        known = {index: color for index, color in enumerate(colors) if color not in colors[:index]}
        if self.palette is None:
            return self._by_brightness(indices, present, known, path)
        meant = {index: self.of_color.get(_code(known[index])) for index in present if index in known}
        wrong = [index for index, target in meant.items() if target not in (None, self.of_value.get(index))]
        if not wrong:
            return indices
        unknown = [index for index in present if meant.get(index) is None]
        if unknown == [IGNORE] and self.of_value[IGNORE] == IGNORE:  # void has no color of its own
            value_of = {target: value for value, target in self.of_value.items()} | {IGNORE: IGNORE}
            table: np.ndarray = np.full(IGNORE + 1, IGNORE)
            for index, target in meant.items():
                table[index] = IGNORE if target is None else value_of[target]
            return np.take(table, indices)
        if unknown:
            index, color = wrong[0], colors[wrong[0]]
            raise ValueError(
                f"{path}: indices and colors contradict each other: index {index} has the color {color} of class "
                f"{meant[index]}, but that of index {unknown[0]} is not in the palette: leave palette out to use the "
                "indices, or add its color to palette or ignore"
            )
        return np.take(mask.colors, indices, axis=0)

    def _by_brightness(
        self, indices: np.ndarray, present: list[int], known: dict[int, tuple[int, ...]], path: Path
    ) -> np.ndarray:
        """Returns the indices of a palette image, or gray levels if all of them are mask values of classes."""
        gray = {index: known[index][0] for index in present if len(set(known.get(index, ()))) == 1}
        if len(gray) == len(present) and all(self.of_value.get(level, IGNORE) != IGNORE for level in gray.values()):
            table = np.zeros(256, np.uint8)
            table[list(gray)] = list(gray.values())
            return np.take(table, indices)
        inverted = known.get(0) == WHITE or known.get(1) == BLACK
        if inverted and set(known.values()) <= {BLACK, WHITE} and not self.values_given:
            raise ValueError(
                f"{path}: index {0 if known.get(0) == WHITE else 1} of this palette image is "
                f"{'white' if known.get(0) == WHITE else 'black'}: to read its brightness, give {self.two_values()}, "
                f"to use its indices, values={list(range(len(self.classes)))}"
            )
        colors = {index: known[index] for index in present if index in known}
        if not self.values_given and (fault := self.palettes.fault(colors, path)):
            raise ValueError(
                f"{path}: {fault}: give palette=, one (red, green, blue) for each class, or if the indices are the "
                f"classes, values={list(range(len(self.classes)))}"
            )
        return indices

    def decode(self, raw: np.ndarray, path: Path | str) -> np.ndarray:
        """Converts raw mask pixels to a label map; errors name `path`."""
        label, strays = self.translate(raw)
        if self.looks_black_and_white(raw) and not (strays and self.values_of(raw)):
            raise ValueError(f"{path}: {self.black_and_white()}")
        if strays:
            raise ValueError(
                f"{path}: mask values {listing(strays)} are outside the {len(self.classes)} classes; "
                f"correct the mask, add it to classes, or to ignore{self._values_for(raw, strays)}"
            )
        return label

    def looks_black_and_white(self, raw: np.ndarray) -> bool:
        """Returns whether 255 seems to be the foreground, not void: it has more pixels than the classes above 0."""
        if self.void_is_255 or raw.ndim != 2 or self.of_value[IGNORE] != IGNORE:
            return False
        white = int(np.count_nonzero(raw == IGNORE))
        if not white:
            return False
        known = [value for value, target in self.of_value.items() if 0 < target < IGNORE]
        return int(np.isin(raw, known).sum()) < white

    def black_and_white(self) -> str:
        """Returns what is wrong with masks that look black-and-white, and the cure."""
        return (
            "most pixels above class 0 are 255, and 255 means void; if 255 is class 1, give "
            f"{self.two_values()}; if it is void, give ignore=[255]"
        )

    def two_values(self, foreground: int = IGNORE) -> str:
        """Returns the option for masks in which 0 is class 0 and the foreground is class 1."""
        return f"values={[0, foreground, *range(2, len(self.classes))]}"

    def values_of(self, levels: np.ndarray) -> list[int]:
        """Returns the distinct gray levels if there are as many as classes, such as 0, 128 and 255, or else nothing."""
        present = np.unique(levels)
        return present.astype(int).tolist() if len(present) == len(self.classes) and whole(present).all() else []

    def _values_for(self, raw: np.ndarray, strays: dict[str, int]) -> str:
        """Returns a hint for masks whose classes are gray levels, and for ids that were saved as colors."""
        if raw.ndim == 3:
            ids = (raw == raw[..., :1]).all() and np.isin(raw, list(self.of_value)).all()
            return "; if its gray levels are ids, leave palette out" if ids else ""
        if values := self.values_of(raw):
            return f"; if its gray levels are the classes, give values={values}"
        if len(strays) > 1 or (raw == 1).any() or not next(iter(strays)).isdigit():
            return ""
        if len(self.classes) > 2:
            return "; if gray levels are the classes, give values=, the gray level of each class"
        return f"; if it is class 1, give {self.two_values(int(next(iter(strays))))}"

    def translate(self, raw: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Returns the label map, with unknown values ignored, and the pixel count of each unknown value or color."""
        if raw.ndim == 2:
            codes, table = raw, self.of_value
        else:
            codes, table = raw.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32), self.of_color
        present, counts, spread = _distinct(codes)
        is_id = whole(present) if present.dtype.kind == "f" else np.ones(len(present), bool)
        targets = np.array(
            [table.get(int(code), STRAY) if ok else STRAY for code, ok in zip(present, is_id, strict=True)], np.int64
        )
        name, outside = _color_name if raw.ndim == 3 else _number, targets == STRAY
        strays = {name(code): int(count) for code, count in zip(present[outside], counts[outside], strict=True)}
        return spread(np.where(outside, IGNORE, targets).astype(np.uint8)), strays


def label_map(label: Any, num_classes: int, name: str) -> np.ndarray:
    """Returns a label of any data set as uint8 `(H, W)`; values that are neither a class nor 255 are refused.

    Args:
        label: Whole numbers `(H, W)` of any dtype.
        num_classes: Number of classes, 2 for a binary task.
        name: Which label it is, for the error.

    Raises:
        ValueError: If the shape is wrong or a value is neither a class nor 255; values are counted.
    """
    array = np.asarray(label)
    check_type(array, name)
    if array.dtype == np.uint8 and not ((array >= num_classes) & (array != IGNORE)).any():
        return array
    found, strays = MaskReader([str(index) for index in range(num_classes)]).translate(array)
    if strays:
        void = "label[label == -1] = 255" if "-1" in strays else "255"
        raise ValueError(
            f"{name}: label values {listing(strays)} are outside the classes 0 to {num_classes - 1}: correct them; "
            f"for void give {void}"
        )
    return found


def check_type(label: np.ndarray, name: str) -> None:
    """Raises a ValueError that begins with `name` if a label is not `(H, W)` or has no numbers."""
    if label.ndim != 2 or label.dtype.kind not in "buif":
        raise ValueError(f"{name}: a label must be whole numbers (H, W), got {label.dtype} {label.shape}")


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Returns the sorted distinct values, their numbers of pixels, and a function that puts others in their places."""
    codes = codes.astype(np.uint8) if codes.dtype.kind == "b" else codes
    if codes.dtype.kind in "iu" and codes.dtype.itemsize <= 2 and codes.size:  # a table is faster than sorting
        low = min(0, int(codes.min()))
        shifted = codes.astype(np.int32) - low if low else codes
        counts = np.bincount(shifted.reshape(-1))
        present = np.flatnonzero(counts)

        def look_up(targets: np.ndarray) -> np.ndarray:
            table = np.zeros(len(counts), targets.dtype)
            table[present] = targets
            return table[shifted]

        return present + low, counts[present], look_up
    flat = codes.reshape(-1)  # neighboring pixels mostly share a value: dropping repeats shortens the sort
    present = np.unique(flat[np.append(True, flat[1:] != flat[:-1])[: flat.size]])
    places = np.searchsorted(present, codes)
    return present, np.bincount(places.reshape(-1), minlength=len(present)), lambda targets: targets[places]


def _table(codes: Sequence[int], ignored: Sequence[int], noun: str) -> dict[int, int]:
    table: dict[int, int] = {}
    for code, target in [*zip(codes, range(len(codes)), strict=True), *((code, IGNORE) for code in ignored)]:
        if table.setdefault(int(code), target) != target:
            name = str(code) if noun == "mask value" else _color_name(code)
            raise ValueError(f"{noun} {name} has two meanings: check classes, palette, values and ignore")
    return table


def _code(color: Sequence[int]) -> int:
    red, green, blue = (int(value) for value in color)
    return red << 16 | green << 8 | blue


def _color_name(code: int) -> str:
    return f"({code >> 16 & 255}, {code >> 8 & 255}, {code & 255})"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else str(int(value))
