"""Label maps as GeoJSON: one polygon with holes per connected region, along the edges of the pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

ORIGIN = "the upper left corner of the image; x to the right, y downwards, in pixels"


def geojson(label: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Converts a label map to a FeatureCollection in pixel coordinates, one Polygon per connected region.

    The outlines follow pixel edges and are not simplified: the polygons cover exactly the pixels of the label map, and
    the area of a polygon is its number of pixels. Pixels that touch only at a corner belong to different regions. With
    x to the right and y upwards, outer rings are counterclockwise and holes clockwise (RFC 7946). Memory: up to fifteen
    bytes per pixel.
    """
    cv2 = load_opencv()
    features = []
    for index, name in enumerate(classes):
        mask = (label == index).astype("uint8")
        _, regions, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for number, (x, y, width, height, pixels) in enumerate(boxes[1:].tolist(), start=1):
            region = regions[y : y + height, x : x + width] == number
            rings = [np.add(ring, (x, y)).tolist() for ring in _rings(cv2, region)]
            properties = {"id": index, "class": name, "pixels": pixels}
            geometry = {"type": "Polygon", "coordinates": rings}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "origin": ORIGIN, "features": features}


def load_opencv() -> Any:
    """Returns the module cv2, or raises an ImportError with the command that installs it."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"polygons need OpenCV: pip install 'kseg[train]' ({error})") from None
    return cv2


def _rings(cv2: Any, region: np.ndarray) -> list[np.ndarray]:
    """Returns the closed rings of one region, the outer one first.

    OpenCV's contours pass through the centers of the outermost pixels. If each pixel is doubled, the centers 2i and
    2i + 1 stand for the left and right edge of pixel i: half of them, rounded up, is i and i + 1, the edges.
    """
    doubled = region.astype("uint8").repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings: list[np.ndarray] = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        corners = _corners((contour[:, 0] + 1) // 2)
        outer = parent < 0
        if (_doubled_area(corners) > 0) != outer:
            corners = corners[::-1]
        rings.insert(0 if outer else len(rings), np.concatenate([corners, corners[:1]]))
    return rings


def _corners(points: np.ndarray) -> np.ndarray:
    """Returns the points where a ring turns, without repeated points and points within straight lines."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _doubled_area(points: np.ndarray) -> int:
    x, y = points.astype("int64").T
    return int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
