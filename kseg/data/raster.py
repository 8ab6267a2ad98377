"""GeoTIFF files: where on the earth they lie, and windows of those that are larger than memory, by rasterio."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from kseg.data.decoding.decoded import (
    MICRO,
    Decoded,
    Refused,
    check_page,
    check_size,
    name_of,
    stored_place,
    stored_point,
    upright,
)  # fmt: skip
from kseg.data.decoding.utf8_path import in_utf8
from kseg.data.limits import Limits
from kseg.data.picture import selected
from kseg.data.pixels import Pixels, Warn
from kseg.data.wording import reword

SUFFIXES = (".tif", ".tiff")
WHOLE = 2**25
"""Number of pixels up to which an image is read whole."""
OVERVIEW = 1024
"""Longest side of the reduced image from which the limits of the values are found."""
ROWS = 512
"""Rows of a file that are reduced at a time."""
CACHE = 2**28
"""Bytes of decoded blocks that GDAL keeps."""
TILE = 1024
"""Rows of the tiles of which GDAL keeps all columns if a file is stored row by row."""
ORIENTATION, REFERENCE_SYSTEM, PLACES = 274, 34735, (33550, 34264)
"""Tags of TIFF files: how to turn the pixels, and, of GeoTIFF, the reference system and the transform to it."""


@dataclasses.dataclass(frozen=True)
class Georeference:
    """Where an image lies.

    Attributes:
        crs: The coordinate reference system, as `"EPSG:32633"` or WKT.
        transform: Numbers (a, b, c, d, e, f) that map a column and a row, from the upper left corner of the image as
            `read_picture` returns it, to x = a * column + b * row + c and y = d * column + e * row + f.
        meters: Length of the unit of x and y in meters; None if the unit is a degree.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    meters: float | None


def georeference(source: Any) -> Georeference | None:
    """Returns where an image file lies, or None if it says nothing, is no TIFF file, or rasterio is not installed.

    The first of several pages counts.
    """
    if not _is_tiff(source) or _rasterio() is None:
        return None
    with contextlib.suppress(OSError, ValueError), _opened(source, 1) as file:
        if file.crs is not None and not file.transform.is_identity:
            meters = file.crs.linear_units_factor[1] if file.crs.is_projected else None
            return Georeference(file.crs.to_string(), _upright_transform(file, _orientation(source)), meters)
    return None


def lacks_rasterio(source: Any) -> bool:
    """Returns whether an image file is georeferenced, but rasterio, which reads where it lies, is not installed."""
    return _is_tiff(source) and _rasterio() is None and is_georeferenced(source)


def is_georeferenced(source: Any) -> bool:
    """Returns whether the tags of a TIFF file, a path or an open file, say where it lies; rasterio is not needed."""
    with contextlib.suppress(OSError):
        tags = _tags(source)
        return REFERENCE_SYSTEM in tags and not tags.keys().isdisjoint(PLACES)
    return False


class Raster:
    """An image file of which only windows are read: `raster[rows, columns]` as of an array `(H, W, C)`.

    Windows have the values that `read_picture` gives, except that the limits of `range="percentile"` and what is
    doubtful come from a reduced image. A step, `raster[::4, ::4]`, takes the pixels of a reduced image.

    Args:
        path: A TIFF file.
        pixels: What its numbers mean, and which of them to use.
        warn: A function that takes the name of the image and what is doubtful about it.

    Raises:
        ValueError: If the file cannot be read, or its numbers have no known meaning.
    """

    ndim = 3

    def __init__(self, path: str | os.PathLike[str], pixels: Pixels, warn: Warn):
        self.path, self.pixels = os.fspath(path), pixels
        self._file = file = _open(path, pixels.page)  # kept open, since GDAL caches what it has decoded
        _limit_cache(file)
        self._orientation = _orientation(path, pixels.page)
        step = max(1, -(-max(file.height, file.width) // OVERVIEW))
        reduced = _decoded(file, np.s_[::step, ::step])
        try:
            values = selected(reduced, pixels, self.path, warn)
            numbers = dataclasses.replace(reduced, values=np.arange(1, file.count + 1)[None, None])
            self.bands = selected(numbers, pixels, self.path, lambda *_: None)[0, 0].tolist()
            self.limits = Limits.of(values, reduced, pixels, self.path, warn)
        except Refused as error:
            raise ValueError(f"{self.path}: {reword(str(error), 'python')}") from None
        self.shape = (*_upright_size(file, self._orientation), pixels.channels)
        self.dtype = self.limits.scaled(values[:1, :1]).dtype

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        try:
            stored = _read(self._file, stored_place(place, self.shape[:2], self._orientation), self.bands)
        except Exception as error:
            raise ValueError(f"{self.path}: not an image that can be read ({error})") from None
        values = np.ascontiguousarray(upright(stored, self._orientation))
        return self.limits.channels(self.limits.scaled(values), self.pixels.channels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self[:, :]
        return found if dtype is None else found.astype(dtype)


def open_picture(source: Any, pixels: Pixels, warn: Warn) -> Raster | None:
    """Opens a TIFF file of more than `WHOLE` pixels for reading by windows; None for other images."""
    if not _is_tiff(source) or _rasterio() is None:
        return None
    try:
        with _opened(source, pixels.page) as file:
            if file.height * file.width <= WHOLE or not _is_simple(file):
                return None
    except (OSError, ValueError):
        return None  # the other reader has the better message
    return Raster(source, pixels, warn)


def read_raster(source: Any, page: int | None) -> Decoded:
    """Reads a TIFF file whole, for those who have rasterio and not tifffile."""
    with _opened(source, page) as file:
        check_size(file.height, file.width)
        if not _is_simple(file):
            raise Refused(f"a palette, or colors other than RGB, of a TIFF file need tifffile: {MICRO}")
        found = _decoded(file, np.s_[:, :])
    return dataclasses.replace(found, values=upright(found.values, _orientation(source, page)))


def raster_size(source: Any, page: int | None) -> tuple[int, int]:
    """Returns height and width of an upright TIFF file, for those who have rasterio and not tifffile."""
    with _opened(source, page or 1) as file:
        return _upright_size(file, _orientation(source, page))


def _is_tiff(source: Any) -> bool:
    if not isinstance(source, str | os.PathLike) or "://" in os.fspath(source):  # GDAL would look for an address
        return False
    return os.fspath(source).lower().endswith(SUFFIXES)


def _tags(source: Any, page: int | None = None) -> Mapping[int, Any]:
    """Returns the tags of a page of a TIFF file, which GDAL does not all give; none if they cannot be read."""
    with contextlib.ExitStack() as stack:
        file = source if hasattr(source, "read") else stack.enter_context(open(source, "rb"))
        file.seek(0)
        stack.callback(file.seek, 0)
        with contextlib.suppress(Exception):  # damaged bytes raise errors of many types
            head = file.read(16)
            tags = TiffImagePlugin.ImageFileDirectory_v2(head[: 16 if head[2] == 43 else 8])
            for _ in range(page or 1):
                file.seek(tags.next)
                tags.load(file)
            return dict(tags)
    return {}


def _orientation(source: Any, page: int | None = None) -> int:
    found = _tags(source, page).get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _upright_size(file: Any, orientation: int) -> tuple[int, int]:
    return (file.width, file.height) if orientation > 4 else (file.height, file.width)


def _upright_transform(file: Any, orientation: int) -> tuple[float, float, float, float, float, float]:
    """Returns the transform of the upright image; files have that of the stored pixels."""
    a, b, c, d, e, f = tuple(file.transform)[:6]
    size = _upright_size(file, orientation)
    (x, y), right, down = (stored_point(*point, size, orientation) for point in ((0, 0), (1, 0), (0, 1)))
    (right_x, right_y), (down_x, down_y) = ((there[0] - x, there[1] - y) for there in (right, down))
    return (
        a * right_x + b * right_y, a * down_x + b * down_y, a * x + b * y + c,
        d * right_x + e * right_y, d * down_x + e * down_y, d * x + e * y + f,
    )  # fmt: skip


def _is_simple(file: Any) -> bool:
    kinds = {kind.name for kind in file.colorinterp}
    return "palette" not in kinds and not kinds & {"cyan", "Y", "hue"}


def _rasterio() -> Any:
    try:
        import rasterio
    except ImportError:
        return None
    return rasterio


def _open(source: Any, page: int | None = None) -> Any:
    rasterio = _rasterio()
    if rasterio is None:
        raise Refused(f"TIFF files with several bands, pages, 32 bits or floats need tifffile: {MICRO}")
    name = name_of(source)
    path = name if os.path.isfile(name) else source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with in_utf8(path) if isinstance(path, str) else contextlib.nullcontext(path) as readable:
                file = rasterio.open(readable)
                pages = max(1, len(file.subdatasets))
                if page is None and pages > 1:
                    raise Refused(f"{pages} pages: choose one, such as page = 1")
                check_page(page or 1, pages)
                return file if page in (None, 1) else rasterio.open(f"GTIFF_DIR:{page}:{readable}")
        except rasterio.errors.RasterioError as error:
            raise ValueError(f"{name}: not an image that can be read ({error})") from None


@contextlib.contextmanager
def _opened(source: Any, page: int | None = None) -> Iterator[Any]:
    with _open(source, page) as file:
        yield file


def _read(file: Any, place: tuple[slice, ...], bands: list[int] | None = None) -> np.ndarray:
    """Reads a window `(H, W, B)`; with steps, every so many pixels of it, some rows at a time for GDAL's cache."""
    from rasterio.windows import Window

    (top, bottom, down), (left, right, along) = (
        part.indices(side) for part, side in zip(place, (file.height, file.width), strict=False)
    )
    strip = down * max(1, ROWS // down) if down > 1 else max(1, bottom - top)
    width, parts = len(range(left, right, along)), []
    for begin in range(top, bottom, strip):
        end = min(begin + strip, bottom)
        window = Window(left, begin, right - left, end - begin)
        shape = (len(bands or file.indexes), len(range(begin, end, down)), width)
        parts.append(np.moveaxis(file.read(bands, window=window, out_shape=shape), 0, -1))
    return np.ascontiguousarray(np.concatenate(parts))


def _limit_cache(file: Any) -> None:
    """Limits GDAL's cache of decoded blocks, by default 5 % of the memory, to what tiles of an image need."""
    from rasterio.env import set_gdal_config

    if "GDAL_CACHEMAX" not in os.environ:
        is_striped = file.block_shapes[0][1] >= file.width  # a tile decodes all columns of its rows
        row = file.width * sum(np.dtype(dtype).itemsize for dtype in file.dtypes)
        set_gdal_config("GDAL_CACHEMAX", max(CACHE, 2 * TILE * row * is_striped))


def _decoded(file: Any, place: tuple[slice, ...]) -> Decoded:
    values = _read(file, place)
    kinds = [kind.name for kind in file.colorinterp]
    alpha = kinds.index("alpha") if "alpha" in kinds else None
    bits = int(file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", values.dtype.itemsize * 8))
    return Decoded(values, bits, alpha, False, file.nodata)
