"""TIFF files of any bit depth, with any number of bands and pages, read by tifffile."""

from typing import Any

import numpy as np

from kseg.data.decoding.decoded import Decoded, Refused, check_page, check_size, number, upright


def read_tiff(file: Any, page: int | None, *, single_bands: bool = False) -> Decoded:
    """Reads one page of a TIFF file, or, with `single_bands`, pages with one band each as the bands of one image."""
    file.seek(0)
    tifffile = _tifffile()
    if tifffile is None:
        from kseg.data import raster  # which imports the module that imports this one

        return raster.read_raster(file, page)
    with tifffile.TiffFile(file) as tif:
        index, place = _place(tif, page, single_bands)
        first = tif.series[index].keyframe
        check_size(first.imagelength, first.imagewidth)
        values = _bands_last(*_planes(tif, index, place))
        tags = {tag.code: tag.value for tag in first.tags if tag.code in (274, 42113)}
        values = _interpreted(values, first)
    extra = [int(kind) for kind in first.extrasamples]
    places = [values.shape[-1] - len(extra) + place for place, kind in enumerate(extra) if kind in (1, 2)]
    values = upright(values, int(tags.get(274, 1)))
    bits = int(np.max(first.bitspersample))
    return Decoded(values, bits, places[0] if places else None, False, number(tags.get(42113)))


def tiff_size(file: Any, page: int | None) -> tuple[int, int]:
    """Returns height and width of a page of an upright TIFF file; the first page by default."""
    file.seek(0)
    tifffile = _tifffile()
    if tifffile is None:
        from kseg.data import raster

        return raster.raster_size(file, page)
    with tifffile.TiffFile(file) as tif:
        first = tif.series[_place(tif, page or 1, False)[0]].keyframe
        tag = first.tags.get(274)
        sideways = tag is not None and int(tag.value) > 4
        size = first.imagelength, first.imagewidth
        return size[::-1] if sideways else size


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError:
        return None
    return tifffile


def _place(tif: Any, page: int | None, single_bands: bool) -> tuple[int, int | None]:
    """Returns which series of a TIFF file holds a page, and its number there; None if the pages are bands."""
    series = [each for each in enumerate(tif.series) if not (each[1].keyframe.is_reduced or each[1].keyframe.is_mask)]
    counts = [
        int(np.prod([side for side, axis in zip(one.shape, one.axes, strict=True) if axis not in "YXSC"]))
        for _, one in series
    ]
    total = sum(counts)
    if not total:
        raise ValueError("no pages")
    if page is None and total > 1:
        single = len(series) == 1 and not set("SC") & set(series[0][1].axes)
        if single and single_bands:
            return series[0][0], None
        bands = f"; if they are the bands of one image, bands = {list(range(1, total + 1))}"
        raise Refused(f"{total} pages: choose one, such as page = 1{bands if single and total < 20 else ''}")
    page = page or 1
    check_page(page, total)
    place = int(np.searchsorted(np.cumsum(counts), page))
    return series[place][0], page - 1 - sum(counts[:place])


def _planes(tif: Any, index: int, number: int | None) -> tuple[np.ndarray, str]:
    """Reads one page, with its channels, from a series of a TIFF file; returns its values and the names of its axes."""
    series = tif.series[index]
    axes, shape, inner = series.axes, series.shape, series.keyframe.axes
    pages = [place for place, axis in enumerate(axes) if axis not in "YXSC"]
    if number is None or not pages:
        return series.asarray(), "".join("C" if place in pages else axis for place, axis in enumerate(axes))
    at = dict(zip(pages, np.unravel_index(number, [shape[place] for place in pages]), strict=True))
    chosen = tuple(int(at[place]) if place in at else slice(None) for place in range(len(axes)))
    left = "".join(axis for place, axis in enumerate(axes) if place not in at)
    lead = len(axes) - len(inner)
    if series.dataoffset is None and axes[lead:] == inner and len(series.pages) == np.prod(shape[:lead]):
        keys = np.arange(len(series.pages)).reshape(shape[:lead])[chosen[:lead]]
        values = tif.asarray(series=index, key=np.ravel(keys).tolist())
        return values.reshape(*keys.shape, *series.keyframe.shape), left
    mapped = series.dataoffset is not None and tif.filehandle.is_file
    return np.array((tif.asarray(series=index, out="memmap") if mapped else series.asarray())[chosen]), left


def _bands_last(values: np.ndarray, axes: str) -> np.ndarray:
    order = [axes.index("Y"), axes.index("X"), *(place for place, axis in enumerate(axes) if axis in "SC")]
    values = values.transpose(order)
    values = values.reshape(*values.shape[:2], -1)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _interpreted(values: np.ndarray, first: Any) -> np.ndarray:
    """Converts inverted gray to gray, a palette to RGB, and less than 8 bits to 8."""
    kind, bits = int(first.photometric), int(np.max(first.bitspersample))
    values = values.astype("uint8") if values.dtype == bool else values
    if kind == 0 and values.dtype.kind == "u":
        values = np.array((1 << bits) - 1, values.dtype) - values
    if kind in (0, 1) and bits < 8:
        values = values * np.uint8(255 // ((1 << bits) - 1))
    if kind == 3 and values.shape[-1] == 1 and first.colormap is not None:
        colors: np.ndarray = np.asarray(first.colormap)[:, values[..., 0]] >> 8
        return np.moveaxis(colors, 0, -1).astype("uint8")
    if kind == 5 or (kind in (6, 8) and values.dtype != np.uint8):
        raise Refused("CMYK, YCbCr or Lab colors of more than 8 bits: convert it to gray or RGB")
    return values
