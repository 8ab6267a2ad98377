"""Label maps as GeoJSON: one polygon with holes per connected region, along the edges of the pixels."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from kseg.inference.objects import find_objects
from kseg.inference.opencv import load_opencv

ORIGIN = "the upper left corner of the image; x to the right, y downwards, in pixels"
ROUNDS = 4
"""How often the tolerance of a polygon is halved that crosses itself when simplified; then it stays exact."""


def geojson(
    label: np.ndarray, classes: Sequence[str], *, without: Collection[int] = (), simplify: float = 0
) -> dict[str, Any]:
    """Converts a label map to a FeatureCollection in pixel coordinates, one Polygon per connected region.

    The outlines follow pixel edges, so that the polygons cover exactly the pixels of the label map. Pixels that touch
    only at a corner belong to different regions. Rings turn as in RFC 7946.

    Args:
        label: Integers `(H, W)`.
        classes: Class names.
        without: Class ids to leave out.
        simplify: Largest distance in pixels between an outline and its simplified form (Douglas and Peucker); 0 keeps
            every corner. Simplified polygons of neighboring regions may overlap or leave gaps; none crosses itself.

    Returns:
        The collection, whose `features` are an iterator, since those of a large image fill the memory. Each has the
        properties `id` (of the class), `class`, `object` (its number in the image, from 1, as in
        `kseg.inference.objects`) and `pixels`.
    """
    cv2 = load_opencv("polygons")
    found = find_objects(label, len(classes), without=without)

    def features() -> Iterator[dict[str, Any]]:
        for number, (index, pixels) in enumerate(zip(found.classes.tolist(), found.areas.tolist(), strict=True)):
            corner, (width, height) = found.boxes[number, :2], found.boxes[number, 2:].tolist()
            if pixels == width * height:  # as most small regions
                rings = [np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]])]
            else:
                rings = _rings(cv2, found.mask(number))
            if simplify:
                rings = _simplified(cv2, rings, simplify)
            properties = {"id": index, "class": classes[index], "object": number + 1, "pixels": pixels}
            geometry = {"type": "Polygon", "coordinates": [(ring + corner).tolist() for ring in rings]}
            yield {"type": "Feature", "properties": properties, "geometry": geometry}

    return {"type": "FeatureCollection", "origin": ORIGIN, "features": features()}


def _rings(cv2: Any, region: np.ndarray) -> list[np.ndarray]:
    """Returns the closed rings of one region, the outer one first.

    OpenCV's contours pass through the centers of the outermost pixels. If each pixel is doubled, the centers 2i and
    2i + 1 stand for the left and right edge of pixel i: half of them, rounded up, is i and i + 1, the edges.
    """
    doubled = region.astype("uint8").repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [_corners((contour[::-1, 0] + 1) // 2) for contour in contours]  # OpenCV turns the other way
    return [np.concatenate([ring, ring[:1]]) for ring in rings]


def _corners(points: np.ndarray) -> np.ndarray:
    """Returns the points where a ring turns, without repeated points and points within straight lines."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _simplified(cv2: Any, rings: list[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Returns the rings with fewer corners, or as they are if they would cross themselves or each other."""
    for halvings in range(ROUNDS):
        found = [cv2.approxPolyDP(ring[:-1, None].astype("int32"), tolerance / 2**halvings, True) for ring in rings]
        simple = [ring[:, 0] for ring in found]
        if all(len(ring) > 2 for ring in simple) and not _crossing([np.concatenate([r, r[:1]]) for r in simple]):
            outside = [hole for hole in simple[1:] if cv2.pointPolygonTest(found[0], hole[0].tolist(), False) < 0]
            if not outside:
                return [np.concatenate([ring, ring[:1]]) for ring in simple]
    return rings


def _crossing(rings: list[np.ndarray]) -> bool:
    """Returns whether two edges of closed rings share a point other than the corner between neighboring edges."""
    begin, end = (np.concatenate([part(ring) for ring in rings]) for part in (lambda r: r[:-1], lambda r: r[1:]))
    order = np.argsort(np.minimum(begin[:, 0], end[:, 0]), kind="stable")
    begin, end = begin[order], end[order]
    left, right = np.minimum(begin, end), np.maximum(begin, end)
    for index, stop in enumerate(np.searchsorted(left[:, 0], right[:, 0], side="right")):
        others = slice(index + 1, stop)
        a, b, c, d = begin[index], end[index], begin[others], end[others]
        near = (left[others, 1] <= right[index, 1]) & (left[index, 1] <= right[others, 1])
        meet = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0) & near
        neighbors = (c == b).all(axis=1) | (d == a).all(axis=1)
        back = neighbors & (_side(a, b, c) == 0) & (_side(a, b, d) == 0) & (((b - a) * (d - c)).sum(axis=1) < 0)
        if (meet & ~neighbors).any() or back.any():
            return True
    return False


def _side(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Returns on which side of the line from a to b a point lies: -1, 0 or 1."""
    (x, y), (u, v) = (b - a).T, (point - a).T
    return np.sign(x * v - y * u)
