"""Read mask files (class ids, palette PNGs, RGB colors) as label maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

STRAY, IGNORE = -1, 255


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
        values = range(len(self.classes)) if values is None else values
        if len(values) != len(self.classes):
            raise ValueError(f"values names {len(values)} mask values for {len(self.classes)} classes")
        ignored = [int(value) for value in ignore if isinstance(value, int)]
        colors = [tuple(value) for value in ignore if not isinstance(value, int)]
        self.of_value = _table(values, ignored, "mask value")
        self.of_color = _table(
            [_code(color) for color in palette or ()], [_code(color) for color in colors], "palette color"
        )
        self.of_value.setdefault(IGNORE, IGNORE)

    def read(self, path: Path) -> np.ndarray:
        """Reads one mask file as a label map."""
        return self.decode(self.raw(path), path)

    def raw(self, path: Path) -> np.ndarray:
        """Reads the pixels of a mask file: `(H, W)` values, or `(H, W, 3)` colors if there is a palette."""
        try:
            with Image.open(path) as mask:
                mode, pixels = mask.mode, np.array(mask)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as a mask ({type(error).__name__}: {error})") from error
        if mode in ("L", "P", "1"):
            return pixels.astype(np.uint8)
        if mode in ("LA", "PA"):
            return pixels[..., 0]
        if mode not in ("RGB", "RGBA"):
            raise ValueError(
                f"{path}: masks must have 8 bits per channel, this one has mode {mode!r}: convert it to 8 bits"
            )
        if self.palette is not None:
            return pixels[..., :3]
        if (pixels[..., :3] != pixels[..., :1]).any():
            raise ValueError(
                f"{path}: this is a color mask and there is no palette; pass palette=, one (red, green, blue) per class"
            )
        return pixels[..., 0]

    def decode(self, raw: np.ndarray, path: Path | str) -> np.ndarray:
        """Converts raw mask pixels to a label map; errors name `path`."""
        label, strays = self.translate(raw)
        if not self.void_is_255 and self.looks_black_and_white(raw):
            raise ValueError(
                f"{path}: this mask contains 0 and 255 but no 1, and 255 means ignore; "
                "for black-and-white masks pass values=[0, 255], for void pass ignore=[255]"
            )
        if strays:
            raise ValueError(
                f"{path}: mask values {listing(strays)} are outside the {len(self.classes)} classes; "
                "correct the mask, add it to classes, or to ignore"
            )
        return label

    def looks_black_and_white(self, raw: np.ndarray) -> bool:
        """Returns whether a mask of two classes seems to use 255 for class 1."""
        if len(self.classes) != 2 or raw.ndim != 2 or self.of_value[IGNORE] != IGNORE:
            return False
        return bool((raw == IGNORE).any()) and not (raw == 1).any()

    def translate(self, raw: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Returns the label map, with unknown values ignored, and the pixel count of each unknown value or color."""
        if raw.ndim == 2:
            present = np.flatnonzero(np.bincount(raw.reshape(-1), minlength=256))
            table, codes = self.of_value, raw
        else:
            codes = raw.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
            flat = codes.reshape(-1)  # neighboring pixels mostly share a color: dropping repeats shortens the sort
            present = np.unique(flat[np.append(True, flat[1:] != flat[:-1])[: flat.size]])
            table = self.of_color
        targets = np.array([table.get(int(code), STRAY) for code in present])
        name = _color_name if raw.ndim == 3 else "{}".format
        strays = {name(code): int((codes == code).sum()) for code in present[targets == STRAY]}
        targets = np.where(targets == STRAY, IGNORE, targets).astype(np.uint8)
        if raw.ndim == 2:
            lookup = np.zeros(256, np.uint8)
            lookup[present] = targets
            return lookup[raw], strays
        return targets[np.searchsorted(present, codes)], strays


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


def listing(strays: Mapping[str, int], most: int = 5) -> str:
    """Returns the first values and their numbers of pixels, and how many more there are."""
    shown = ", ".join(f"{value} ({count} pixels)" for value, count in list(strays.items())[:most])
    more = f" and {len(strays) - most} more" if len(strays) > most else ""
    return shown + more
