"""Label maps of georeferenced images as GeoTIFF, GeoJSON and tables."""

import csv
import io
import itertools
import json
import math
import os
import pathlib
import sys

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

from kseg.data import Georeference, georeference
from kseg.inference import FORMATS, Details, earth
from kseg.inference.formats import Areas, ObjectTable
from kseg.inference.polygons import geojson

CLASSES, PALETTE = ("background", "house", "field"), ((0, 0, 0), (255, 0, 0), (0, 200, 0))
UTM = Georeference("EPSG:32633", (10, 0, 500_000, 0, -10, 5_400_000), 1.0)
TURNED = Georeference("EPSG:32633", (6, 8, 500_000, 8, -6, 5_400_000), 1.0)


def label():
    found = np.zeros((90, 120), "uint8")
    found[10:80, 20:100] = 1
    found[30:40, 40:60] = 2  # a hole of class 1
    found[0, 0] = 255
    return found


def picture(path, place=UTM):
    """Writes a georeferenced image of 3 bands."""
    with rasterio.open(path, "w", driver="GTiff", height=90, width=120, count=3, dtype="uint8", crs=place.crs,
                       transform=Affine(*place.transform)) as file:  # fmt: skip
        file.write(np.full((3, 90, 120), 9, "uint8"))
    return str(path)


def area(ring):
    """The shoelace formula, positive if counterclockwise."""
    return sum(x * v - u * y for (x, y), (u, v) in itertools.pairwise(ring)) / 2


@pytest.mark.parametrize("place", [UTM, TURNED])
def test_a_geotiff_has_the_place_of_the_image_its_classes_and_colors(tmp_path, place):
    source = picture(tmp_path / "a.tif", place)
    assert georeference(source) == place
    (tmp_path / "b.tif").write_bytes(FORMATS["tif"](CLASSES, PALETTE).encode(source, np.zeros((90, 120, 3)), label()))
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.crs.to_string(), tuple(file.transform)[:6]) == (place.crs, place.transform)
        np.testing.assert_array_equal(file.read(1), label())
        assert file.nodata == 255
        assert [file.colormap(1)[index][:3] for index in range(3)] == list(PALETTE)
    with Image.open(tmp_path / "b.tif") as mask:
        np.testing.assert_array_equal(np.asarray(mask), label())


def test_a_georeferenced_image_may_have_a_name_that_is_not_utf8(tmp_path):
    source = os.fsdecode(os.fsencode(picture(tmp_path / "a.tif")).replace(b"a.tif", b"\xe9.tif"))
    os.rename(tmp_path / "a.tif", source)
    assert georeference(source) == UTM


def test_a_plain_image_gives_a_plain_tiff_file(tmp_path):
    content = FORMATS["tif"](CLASSES, PALETTE).encode("photo.jpg", np.zeros((90, 120, 3)), label().astype("uint16") * 9)
    (tmp_path / "b.tif").write_bytes(content)
    assert georeference(tmp_path / "b.tif") is None
    with Image.open(tmp_path / "b.tif") as mask:
        np.testing.assert_array_equal(np.asarray(mask), label().astype("uint16") * 9)


@pytest.mark.parametrize("place", [UTM, TURNED])
def test_polygons_in_the_system_of_the_image_have_its_areas_and_corners(place):
    found = earth.located(geojson(label(), CLASSES), place, "source")
    features = list(found["features"])
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633" and "origin" not in found
    for feature in features:
        outer, *holes = feature["geometry"]["coordinates"]
        assert area(outer) > 0 and all(area(hole) < 0 for hole in holes)
        assert outer[0] == outer[-1]
        assert area(outer) + sum(map(area, holes)) == pytest.approx(feature["properties"]["pixels"] * 100)
    (house,) = [each for each in features if each["properties"]["class"] == "house"]
    a, b, c, d, e, f = place.transform
    corners = {(a * x + b * y + c, d * x + e * y + f) for x in (20, 100) for y in (10, 80)}
    assert set(map(tuple, house["geometry"]["coordinates"][0])) == corners


def test_polygons_are_longitude_and_latitude_by_default(tmp_path):
    """Checked against the formula of the spherical Mercator projection."""
    place = Georeference("EPSG:3857", (50, 0, 1_000_000, 0, -50, 6_000_000), 1.0)
    found = json.loads(FORMATS["geojson"](CLASSES, PALETTE).encode(picture(tmp_path / "a.tif", place), None, label()))
    assert "crs" not in found and "origin" not in found
    (house,) = [each for each in found["features"] if each["properties"]["class"] == "house"]
    outer, hole = house["geometry"]["coordinates"]
    assert area(outer) > 0 > area(hole)
    radius = 6_378_137
    for x, y in ((20, 10), (100, 80)):
        east, north = 1_000_000 + 50 * x, 6_000_000 - 50 * y
        expected = math.degrees(east / radius), math.degrees(2 * math.atan(math.exp(north / radius)) - math.pi / 2)
        assert min(math.dist(expected, point) for point in outer) < 2e-7
    assert len(outer) == 9  # edges of 80 and 70 pixels are divided
    plain = json.loads(FORMATS["geojson"](CLASSES, PALETTE).encode("photo.jpg", None, label()))
    expected = geojson(label(), CLASSES)
    assert plain == {**expected, "features": list(expected["features"])}


def test_another_system_is_named_in_the_file_and_an_unknown_one_refused(tmp_path):
    details = Details(crs=earth.checked_crs("epsg:25833"))
    source = picture(tmp_path / "a.tif")
    found = json.loads(FORMATS["geojson"](CLASSES, PALETTE, details).encode(source, None, label()))
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::25833"
    for feature in found["features"]:  # ETRS89 is WGS 84 within a meter
        areas = sum(map(area, feature["geometry"]["coordinates"]))
        assert areas == pytest.approx(feature["properties"]["pixels"] * 100, rel=1e-4)
    with pytest.raises(ValueError, match=r"--crs takes source, or a reference system .* got 'mars'"):
        earth.checked_crs("mars")
    assert list(earth.located(geojson(np.full((2, 2), 255), CLASSES), UTM)["features"]) == []


def test_tables_measure_in_meters_where_the_image_says_where_it_lies(tmp_path):
    feet = Georeference("EPSG:2263", (3, 4, 900_000, 4, -3, 200_000), 0.3048)  # pixels of 5 US feet
    degrees = Georeference("EPSG:4326", (0.001, 0, 5, 0, -0.001, 50), None)
    mercator = Georeference("EPSG:3857", (50, 0, 1_000_000, 0, -50, 6_000_000), 1.0)
    wide = Georeference("EPSG:32633", (10, 0, 500_000, 0, -20, 5_400_000), 1.0)
    areas = {  # of a pixel; on a sphere, a degree is 111,195 m, and web Mercator enlarges by 1 / cos(latitude)
        "utm": 100, "feet": 25 * 0.3048**2, "wide": 200, "photo": None,
        "degrees": 111.195**2 * math.cos(math.radians(49.955)), "mercator": 50**2 * math.cos(math.radians(47.35)) ** 2,
    }  # fmt: skip
    places = {"utm": UTM, "feet": feet, "degrees": degrees, "mercator": mercator, "wide": wide}
    details = Details((0,), georeferenced=True)
    for kind in (Areas, ObjectTable):
        table = kind(CLASSES, PALETTE, details)
        sources = [picture(tmp_path / f"{name}.tif", place) for name, place in places.items()]
        content = b"".join(
            table.append(table.encode(source, np.zeros((90, 120, 3)), label())) for source in [*sources, "photo.jpg"]
        )
        rows = list(csv.DictReader(io.StringIO((table.head() + content).decode())))
        for row in [row for row in rows if row["class"] == "house"]:
            size = areas[pathlib.Path(row["image"]).stem]
            if size is None:
                assert row["real_area"] == row["unit"] == ""
            else:
                assert float(row["real_area"]) == pytest.approx((70 * 80 - 200) * size, rel=1e-2) and row["unit"] == "m"
            if "wide" in row["image"] and kind is ObjectTable:
                assert (float(row["real_box_width"]), float(row["real_box_height"])) == (800, 1400)
            if "utm" in row["image"]:
                assert float(row["real_area"]) == (70 * 80 - 200) * 100


def test_a_missing_rasterio_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImportError, match=r"GeoTIFF needs rasterio: pip install 'kseg\[geo\]'"):
        FORMATS["tif"](CLASSES, PALETTE)
