"""What the pixels of images and masks are: sizes, bit depth, bands, values, colors, shares of classes."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from kseg.data.decoding import image_file
from kseg.data.decoding.mask_file import Indexed, read_mask
from kseg.data.masks import IGNORE
from kseg.data.picture import picture_size

SAMPLE = 64
"""Images that are decoded; masks are all read, since each may hold another class."""

Color = tuple[int, int, int]
Value = int | Color


@dataclass
class Masks:
    """The values of all masks.

    Args:
        pixels: Number of pixels of each value, or of each color.
        files: Number of masks in which it occurs.
        halves: Number of its pixels in the top, bottom, left and right half.
        fractions: Masks with values that are not whole.
        lossy: Masks saved as JPEG.
        palette: The color of each index of palette images, if it is the same in all files.
        sizes: Height and width of each mask.
        void_beside: Number of masks with 255 and other values above 0.
        series: Largest value of each mask whose values are 0, 1, 2, ... or 1, 2, 3, ..., at least three.
        unreadable: The path and the error of each file that could not be read.
    """

    pixels: collections.Counter[Value] = field(default_factory=collections.Counter)
    files: collections.Counter[Value] = field(default_factory=collections.Counter)
    halves: dict[Value, np.ndarray] = field(default_factory=dict)
    fractions: list[Path] = field(default_factory=list)
    lossy: list[Path] = field(default_factory=list)
    palette: dict[Value, Color] = field(default_factory=dict)
    sizes: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    void_beside: int = 0
    series: list[int] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add(self, counts: Mapping[Value, np.ndarray]) -> None:
        """Adds the pixels of each value in the four halves of a mask."""
        for value, halves in counts.items():
            self.pixels[value] += int(halves[:2].sum())
            self.files[value] += 1
            self.halves[value] = self.halves.get(value, np.zeros(4, np.int64)) + halves
        numbers = sorted(value for value in counts if isinstance(value, int))
        self.void_beside += IGNORE in numbers and any(0 < value < IGNORE for value in numbers)
        if len(numbers) > 2 and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1:
            self.series.append(numbers[-1])

    @property
    def is_color(self) -> bool:
        return any(isinstance(value, tuple) for value in self.pixels)

    def tilt(self) -> tuple[float, float]:
        """Returns how much the classes of top and bottom differ, and those of left and right: 0 to 1."""
        table = np.array([*self.halves.values()], float)
        shares = table / table.sum(axis=0).clip(1)
        return float(abs(shares[:, 0] - shares[:, 1]).sum() / 2), float(abs(shares[:, 2] - shares[:, 3]).sum() / 2)


def look_at_masks(paths: Sequence[Path]) -> Masks:
    """Reads masks and counts their values."""
    found = Masks()
    indexed: list[tuple[dict[Value, np.ndarray], dict[Value, Color]]] = []
    for path in paths:
        try:
            mask = read_mask(path)
        except (ValueError, OSError) as error:
            found.unreadable.append((str(path), str(error)))
            continue
        found.sizes[path] = (mask.indices if isinstance(mask, Indexed) else mask).shape[:2]
        if path.suffix.lower() in (".jpg", ".jpeg"):
            found.lossy.append(path)
        if isinstance(mask, Indexed):
            counts = _counts(mask.indices)
            known = {index: color for index, color in enumerate(mask.colors.tolist()) if index in counts}
            indexed.append((counts, {index: (color[0], color[1], color[2]) for index, color in known.items()}))
            continue
        if mask.ndim == 3 and (mask == mask[..., :1]).all():
            mask = mask[..., 0]
        if mask.ndim == 3 and mask.dtype == np.uint16:
            mask = mask // 257
        if mask.dtype.kind == "f" and (mask != np.floor(mask)).any():  # NaN too
            found.fractions.append(path)
            continue
        found.add(_counts(mask) if mask.ndim == 2 else _color_counts(mask))
    _add_indexed(found, indexed)
    if found.is_color:
        _as_colors(found)
    return found


def _add_indexed(found: Masks, indexed: Sequence[tuple[dict[Value, np.ndarray], dict[Value, Color]]]) -> None:
    """Adds palette images: by color if files number colors differently, by brightness if all colors are gray."""
    palettes: dict[Value, set[Color]] = collections.defaultdict(set)
    for _, colors in indexed:
        for index, color in colors.items():
            palettes[index].add(color)
    every = {color for colors in palettes.values() for color in colors}
    gray = len(every) > 1 and all(len(set(color)) == 1 for color in every)
    by_color = found.is_color or any(len(colors) > 1 for colors in palettes.values())
    for counts, colors in indexed:
        joined: dict[Value, np.ndarray] = {}
        for index, halves in counts.items():
            own = colors.get(index)
            value: Value = index if own is None else own[0] if gray else own if by_color else index
            joined[value] = joined.get(value, np.zeros(4, np.int64)) + halves
        found.add(joined)
    if not (gray or by_color):
        found.palette = {index: next(iter(colors)) for index, colors in palettes.items()}


def look_at_labels(labels: Iterable[np.ndarray]) -> Masks:
    """Counts the values of label maps, such as those drawn from annotations."""
    found = Masks()
    for label in labels:
        found.add(_counts(label))
    return found


def _counts(mask: np.ndarray) -> dict[Value, np.ndarray]:
    """Returns the pixels of each value in the top, bottom, left and right half."""
    whole = mask.astype(np.int64)
    low, high = int(whole.min()), int(whole.max())
    if high - low < 2**16:
        values, places = np.arange(low, high + 1), whole - low
    else:  # neighboring pixels mostly share a value: dropping repeats shortens the sort
        flat = whole.reshape(-1)
        values = np.unique(flat[np.append(True, flat[1:] != flat[:-1])])
        places = np.searchsorted(values, whole)
    y, x = mask.shape[0] // 2, mask.shape[1] // 2
    corners = (places[:y, :x], places[:y, x:], places[y:, :x], places[y:, x:])
    one, two, three, four = (np.bincount(corner.reshape(-1), minlength=len(values)) for corner in corners)
    table = np.stack([one + two, three + four, one + three, two + four], axis=1)
    return {int(values[place]): table[place] for place in np.flatnonzero(table.any(axis=1))}


def _color_counts(mask: np.ndarray) -> dict[Value, np.ndarray]:
    codes = mask.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return {(code >> 16, code >> 8 & 255, code & 255): row for code, row in _counts(codes).items()}  # type: ignore[operator]


def _as_colors(found: Masks) -> None:
    """Turns gray values, as of a mask that is black as a whole, into colors, since other masks have colors."""
    tables: tuple[dict[Value, Any], ...] = (found.pixels, found.files, found.halves)
    for table in tables:
        for value in [value for value in table if isinstance(value, int)]:
            color, count = (value, value, value), table.pop(value)
            table[color] = table[color] + count if color in table else count


def color_name(color: Color, taken: Iterable[str] = ()) -> str:
    """Returns the name of the nearest color of CSS, with a number if it is taken.

    Example:
        >>> color_name((250, 5, 0)), color_name((255, 0, 0), ["red"])
        ('red', 'red_2')
    """

    def distance(name: str) -> tuple[int, int]:
        return sum((one - other) ** 2 for one, other in zip(color, ImageColor.getrgb(name), strict=False)), len(name)

    name, taken = min(ImageColor.colormap, key=distance), set(taken)
    numbered = (f"{name}_{number}" for number in range(2, 999))
    return name if name not in taken else next(each for each in numbered if each not in taken)


@dataclass
class Images:
    """What the images are.

    Args:
        count: Number of images.
        sizes: Height and width of each image whose size is known.
        dtypes: Types of their values and the number of images of each, of a sample.
        bands: Numbers of bands without opacity.
        low: Smallest value.
        high: Largest value.
        tails: The values below which 0.1 % and 99.9 % of all pixels lie.
        brightest: Median over the images of the value below which 99 % of the pixels lie.
        gray: Share of images whose bands are all equal, of the sample.
        photos: Share of JPEG files.
        pages: Number of images with several pages.
        unreadable: The path and the error of each file that could not be read.
    """

    count: int
    sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)
    dtypes: collections.Counter[str] = field(default_factory=collections.Counter)
    bands: collections.Counter[int] = field(default_factory=collections.Counter)
    low: float = 0.0
    high: float = 0.0
    tails: tuple[float, float] = (0.0, 0.0)
    brightest: float = 0.0
    gray: float = 0.0
    photos: float = 0.0
    pages: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def look_at_images(paths: Sequence[Path]) -> Images:
    """Reads the sizes of all images and the pixels of some."""
    found = Images(len(paths), photos=float(np.mean([path.suffix.lower() in (".jpg", ".jpeg") for path in paths])))
    for path in paths:
        try:
            found.sizes[path] = picture_size(path)
        except (ValueError, OSError) as error:
            found.unreadable.append((str(path), str(error)))
    values: list[np.ndarray] = []
    for path in _spread(paths, SAMPLE):
        try:
            decoded = image_file.decode(path, None, keep_alpha=True)
        except (ValueError, OSError) as error:
            if " pages" not in str(error):
                continue  # most faults are known from its size
            found.pages += 1
            decoded = image_file.decode(path, 1, keep_alpha=True)
        pixels = decoded.values
        if decoded.alpha is not None and decoded.sure:
            pixels = np.delete(pixels, decoded.alpha, axis=-1)
        found.dtypes[str(pixels.dtype)] += 1
        found.bands[pixels.shape[-1]] += 1
        found.gray += bool((pixels == pixels[..., :1]).all())
        step = max(1, pixels.shape[0] * pixels.shape[1] // 2**16)
        sample = pixels.reshape(-1, pixels.shape[-1])[::step].reshape(-1).astype(float)
        sample = sample if decoded.nodata is None else sample[sample != decoded.nodata]
        values.append(sample[np.isfinite(sample)])
    found.gray /= max(1, found.dtypes.total())
    values = [sample for sample in values if sample.size]
    if values:
        whole = np.concatenate(values)
        found.low, found.high = float(whole.min()), float(whole.max())
        low, high = np.percentile(whole, [0.1, 99.9])
        found.tails = float(low), float(high)
        found.brightest = float(np.median([np.percentile(each, 99) for each in values]))
    return found


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    return [paths[int(place)] for place in np.unique(np.linspace(0, len(paths) - 1, most).astype(int))]
