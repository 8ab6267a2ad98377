"""Label maps of georeferenced images: GeoTIFF files, and polygons in coordinates on the earth."""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kseg.data import Georeference

WGS84 = "EPSG:4326"
"""Longitude and latitude, in which RFC 7946 (GeoJSON) gives coordinates."""
LONGEST_EDGE = 64
"""Pixels after which an edge gets another corner if it is projected: a straight line is an arc elsewhere."""
FEATURES = 256
"""Number of polygons whose corners are projected at a time."""
TRUE_TO_SCALE = 0.02
"""Difference of areas on a map and on the ground below which those of the map are kept."""
RADIUS, ECCENTRICITY = 6_378_137.0, 0.00669437999014
"""Of the ellipsoid of WGS 84: its radius at the equator in meters, and its squared eccentricity."""


def load_rasterio(purpose: str) -> Any:
    """Returns the module rasterio, or raises an ImportError with the command that installs it."""
    try:
        import rasterio
        import rasterio.warp
    except ImportError as error:
        raise ImportError(f"{purpose} needs rasterio: pip install 'kseg[geo]' ({error})") from None
    return rasterio


def checked_crs(text: str) -> str:
    """Returns `"source"`, or a reference system if PROJ knows it, as `"EPSG:3857"`, or raises a ValueError."""
    rasterio = load_rasterio("--crs")
    if text == "source":
        return text
    try:
        return rasterio.crs.CRS.from_user_input(text).to_string()
    except rasterio.errors.CRSError as error:
        raise ValueError(
            f"--crs takes source, or a reference system such as EPSG:3857, got {text!r} ({error})"
        ) from None


class PixelSize(NamedTuple):
    """Width, height and area of a pixel in a unit."""

    width: float
    height: float
    area: float
    unit: str


def pixel_size(place: Georeference, size: tuple[int, int]) -> PixelSize | None:
    """Returns the size of a pixel in meters: that of the map, or on the ground where the map is not true to scale.

    Maps in degrees and in web Mercator are not: of them, the size at the center of the image is returned.

    Args:
        place: Where the image lies.
        size: Height and width of the image.

    Returns:
        The size, or None if the reference system says nothing of meters.
    """
    a, b, _, d, e, _ = place.transform
    ground = _steps_on_ground(place, size)
    steps = ground
    if place.meters is not None:
        planar = np.array([[a, d], [b, e]]) * place.meters
        if ground is None or abs(abs(np.linalg.det(ground) / np.linalg.det(planar)) - 1) < TRUE_TO_SCALE:
            steps = planar
    if steps is None:
        return None
    width, height = np.hypot(*steps.T).tolist()
    return PixelSize(width, height, abs(float(np.linalg.det(steps))), "m")


def _steps_on_ground(place: Georeference, size: tuple[int, int]) -> np.ndarray | None:
    """Returns the meters to the east and north of a step along a row and of one along a column, at the center."""
    rasterio = load_rasterio("the size of pixels")
    column, row = size[1] / 2 + np.array([0, 1, 0]), size[0] / 2 + np.array([0, 0, 1])
    a, b, c, d, e, f = place.transform
    try:
        found = rasterio.warp.transform(place.crs, WGS84, a * column + b * row + c, d * column + e * row + f)
    except rasterio.errors.RasterioError:
        return None
    longitude, latitude = np.radians(found)
    if not np.isfinite([longitude, latitude]).all():
        return None
    bent = 1 - ECCENTRICITY * np.sin(latitude[0]) ** 2
    to_east = RADIUS / bent**0.5 * np.cos(latitude[0])
    to_north = RADIUS * (1 - ECCENTRICITY) / bent**1.5
    return np.stack([to_east * (longitude[1:] - longitude[0]), to_north * (latitude[1:] - latitude[0])], axis=1)


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

    Returns:
        The collection, whose `features` are an iterator. It raises a ValueError if a coordinate cannot be transformed.
    """
    rasterio = load_rasterio("GeoJSON of georeferenced images")
    source = rasterio.crs.CRS.from_user_input(place.crs)
    target = source if crs == "source" else rasterio.crs.CRS.from_user_input(crs)

    def project(points: np.ndarray) -> np.ndarray:
        column, row = points.T
        a, b, c, d, e, f = place.transform
        x, y = a * column + b * row + c, d * column + e * row + f
        if target != source:
            x, y = map(np.array, rasterio.warp.transform(source, target, x, y))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"parts of the image cannot be given in {target.to_string()}: choose another --crs")
        return np.stack([x, y], axis=1).round(7 if target.is_geographic else 3)

    features = _projected(collection["features"], project, divided=target != source)
    if target == rasterio.crs.CRS.from_user_input(WGS84):
        return {"type": collection["type"], "features": features}
    authority = target.to_authority()
    name = target.to_wkt() if authority is None else f"urn:ogc:def:crs:{authority[0]}::{authority[1]}"
    return {"type": collection["type"], "crs": {"type": "name", "properties": {"name": name}}, "features": features}


def _projected(
    features: Iterable[dict[str, Any]], project: Callable[[np.ndarray], np.ndarray], *, divided: bool
) -> Iterator[dict[str, Any]]:
    """Projects the rings of features, those of many features at a time, and turns them as RFC 7946 demands."""
    features = iter(features)
    while part := list(itertools.islice(features, FEATURES)):
        rings = [np.array(ring, "float64") for each in part for ring in each["geometry"]["coordinates"]]
        rings = [_divided(ring) for ring in rings] if divided else rings
        ends = np.cumsum([len(ring) for ring in rings])
        found = iter(np.split(project(np.concatenate(rings)), ends[:-1]))
        for each in part:
            own = list(itertools.islice(found, len(each["geometry"]["coordinates"])))
            turned = [ring if (_area(ring) > 0) == (index == 0) else ring[::-1] for index, ring in enumerate(own)]
            each["geometry"]["coordinates"] = [ring.tolist() for ring in turned]
            yield each


def _divided(ring: np.ndarray) -> np.ndarray:
    """Adds corners to a closed ring, so that no edge is longer than `LONGEST_EDGE`."""
    edges = np.diff(ring, axis=0)
    counts = np.maximum(1, np.ceil(np.abs(edges).max(axis=1) / LONGEST_EDGE)).astype(int)
    edge = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.concatenate([ring[edge] + (number / counts[edge])[:, None] * edges[edge], ring[-1:]])


def _area(ring: np.ndarray) -> float:
    """Returns twice the area of a closed ring, positive if it turns counterclockwise."""
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
