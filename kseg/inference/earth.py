"""Label maps of georeferenced images: GeoTIFF files, and polygons in coordinates on the earth."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg.data import Georeference

WGS84 = "EPSG:4326"
"""Longitude and latitude, in which RFC 7946 (GeoJSON) gives coordinates."""
LONGEST_EDGE = 64
"""Pixels after which an edge gets another corner if it is projected: a straight line is an arc elsewhere."""


def load_rasterio(purpose: str) -> Any:
    """Returns the module rasterio, or raises an ImportError with the command that installs it."""
    try:
        import rasterio
        import rasterio.warp
    except ImportError as error:
        raise ImportError(f"{purpose} needs rasterio: pip install 'kseg[geo]' ({error})") from None
    return rasterio


def checked_crs(text: str) -> str:
    """Returns a coordinate reference system if PROJ knows it, as `"EPSG:3857"`, or raises a ValueError."""
    rasterio = load_rasterio("--crs")
    try:
        return rasterio.crs.CRS.from_user_input(text).to_string()
    except rasterio.errors.CRSError as error:
        raise ValueError(
            f"--crs takes source, or a reference system such as EPSG:3857, got {text!r} ({error})"
        ) from None


def geotiff(label: np.ndarray, palette: Sequence[Sequence[int]], place: Georeference | None) -> bytes:
    """Encodes a label map as a GeoTIFF file with the palette, in which 255 marks pixels without data.

    Args:
        label: uint8 or uint16 `(H, W)`.
        palette: One (R, G, B), 0 to 255, per class.
        place: Where the image lies; None writes a plain TIFF file.
    """
    rasterio = load_rasterio("GeoTIFF")
    height, width = label.shape
    profile: dict[str, Any] = {"count": 1, "dtype": label.dtype, "compress": "deflate", "bigtiff": "if_safer"}
    if min(height, width) >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    if label.dtype == np.uint8:
        profile["nodata"] = 255
    if place is not None:
        profile |= {"crs": place.crs, "transform": rasterio.Affine(*place.transform)}
    with rasterio.MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(driver="GTiff", height=height, width=width, **profile) as file:
            file.write(label, 1)
            if label.dtype == np.uint8:
                file.write_colormap(1, {index: (*color, 255) for index, color in enumerate(palette)})
        return memory.read()


def located(collection: dict[str, Any], place: Georeference, crs: str = WGS84) -> dict[str, Any]:
    """Returns a GeoJSON collection in pixels with coordinates on the earth.

    Args:
        collection: What `kseg.inference.polygons.geojson` returns; its geometries are replaced.
        place: Where the image lies.
        crs: The reference system of the coordinates, `"source"` for that of the image. All but `WGS84` depart from
            RFC 7946 and are named in the member `crs`, as in GeoJSON of 2008.

    Raises:
        ValueError: If a coordinate cannot be transformed.
    """
    rasterio = load_rasterio("GeoJSON of georeferenced images")
    source = rasterio.crs.CRS.from_user_input(place.crs)
    target = source if crs == "source" else rasterio.crs.CRS.from_user_input(crs)
    features = collection["features"]
    rings = [np.array(ring, "float64") for feature in features for ring in feature["geometry"]["coordinates"]]
    if target != source:
        rings = [_divided(ring) for ring in rings]
    if rings:
        column, row = np.concatenate(rings).T
        a, b, c, d, e, f = place.transform
        x, y = a * column + b * row + c, d * column + e * row + f
        if target != source:
            x, y = map(np.array, rasterio.warp.transform(source, target, x, y))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"parts of the image cannot be given in {target.to_string()}: choose another --crs")
        points = np.stack([x, y], axis=1).round(7 if target.is_geographic else 3)
        ends = np.cumsum([len(ring) for ring in rings])
        found = iter(np.split(points, ends[:-1]))
    for feature in features:
        parts = list(itertools.islice(found, len(feature["geometry"]["coordinates"])))
        turned = [ring if (_area(ring) > 0) == (index == 0) else ring[::-1] for index, ring in enumerate(parts)]
        feature["geometry"]["coordinates"] = [ring.tolist() for ring in turned]
    whole = {key: value for key, value in collection.items() if key != "origin"}
    if target != rasterio.crs.CRS.from_user_input(WGS84):
        authority = target.to_authority()
        name = target.to_wkt() if authority is None else f"urn:ogc:def:crs:{authority[0]}::{authority[1]}"
        whole = {"type": whole.pop("type"), "crs": {"type": "name", "properties": {"name": name}}, **whole}
    return whole


def _divided(ring: np.ndarray) -> np.ndarray:
    """Adds corners to a closed ring, so that no edge is longer than `LONGEST_EDGE`."""
    parts = []
    for begin, end in itertools.pairwise(ring):
        count = max(1, int(np.ceil(np.abs(end - begin).max() / LONGEST_EDGE)))
        parts.append(begin + np.arange(count)[:, None] / count * (end - begin))
    return np.concatenate([*parts, ring[-1:]])


def _area(ring: np.ndarray) -> float:
    """Returns twice the area of a closed ring, positive if it turns counterclockwise."""
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
