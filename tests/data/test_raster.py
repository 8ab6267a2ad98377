"""GeoTIFF files: their place on the earth, and windows of large ones."""

import sys

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio import Affine

from kseg.data import Pixels, picture_size, raster, read_picture
from kseg.data.decoding import tiff
from kseg.data.masks import MaskReader

PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)


def write(path, values, **options):
    """Writes an array `(H, W, B)` as a tiled GeoTIFF."""
    height, width, count = values.shape
    profile = {"crs": "EPSG:32633", "transform": PLACE, "tiled": True, "blockxsize": 64, "blockysize": 64, **options}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=count, dtype=values.dtype,
                       **profile) as file:  # fmt: skip
        file.write(np.moveaxis(values, -1, 0))
    return path


def bands(dtype="uint16", top=4095, count=5, size=(200, 300)):
    return np.random.default_rng(0).integers(0, top + 1, (*size, count)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "count", "pixels"),
    [("uint16", 5, Pixels(range=(0, 4095), bands=(4, 3, 2))), ("uint16", 5, Pixels(channels=5)),
     ("uint8", 3, Pixels()), ("uint8", 3, Pixels(channels=1)), ("float32", 1, Pixels(range=(-5, 300))),
     ("int16", 2, Pixels(range=(-5, 300), channels=2)), ("uint8", 4, Pixels(channels=4))],
)  # fmt: skip
def test_windows_are_parts_of_the_whole_image(tmp_path, dtype, count, pixels):
    top = 255 if dtype in ("uint8", "float32") else 4095
    path = write(tmp_path / "a.tif", bands(dtype, top, count), compress="deflate")
    found = []
    image = raster.Raster(path, pixels, lambda name, doubt: found.append(doubt))
    whole = read_picture(path, pixels, on_warning=lambda *_: None)
    assert (image.shape, image.dtype) == (whole.shape, whole.dtype)
    for place in (np.s_[10:90, 250:300], np.s_[0:200, 0:1], np.s_[150:400, 100:120]):
        np.testing.assert_array_equal(image[place], whole[place])
    assert image[::7, ::7].shape == whole[::7, ::7].shape
    np.testing.assert_array_equal(np.asarray(image), whole)


def test_doubts_and_percentiles_come_from_a_reduced_image(tmp_path, monkeypatch):
    monkeypatch.setattr(raster, "OVERVIEW", 60)
    path = write(tmp_path / "a.tif", bands())
    found = []
    image = raster.Raster(path, Pixels(channels=5), lambda name, doubt: found.append(doubt))
    assert len(found) == 1 and "range = [0, 4095]" in found[0]
    image = raster.Raster(path, Pixels(range="percentile", channels=5), lambda *_: None)
    whole = read_picture(path, Pixels(range="percentile", channels=5))
    np.testing.assert_allclose(image[:50, :50], whole[:50, :50], atol=3)
    with pytest.raises(ValueError, match=r"a\.tif: 5 bands where 3 are expected"):
        raster.Raster(path, Pixels(), lambda *_: None)


def test_only_large_tiff_files_are_read_by_windows(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", bands("uint8", 255, 3))
    for source in (path, str(path)):
        assert raster.open_picture(source, Pixels(), lambda *_: None) is None
    monkeypatch.setattr(raster, "WHOLE", 200 * 300 - 1)
    assert raster.open_picture(path, Pixels(), lambda *_: None).shape == (200, 300, 3)
    assert raster.open_picture(tmp_path / "b.png", Pixels(), lambda *_: None) is None
    (tmp_path / "b.tif").write_text("no image")
    assert raster.open_picture(tmp_path / "b.tif", Pixels(), lambda *_: None) is None


def test_the_place_on_the_earth_is_read(tmp_path):
    found = raster.georeference(write(tmp_path / "a.tif", bands()))
    assert (found.crs, found.transform, found.meters) == ("EPSG:32633", (10, 0, 500_000, 0, -10, 5_400_000), 1)
    degrees = write(tmp_path / "b.tif", bands(), crs="EPSG:4326", transform=Affine(0.001, 0, 15, 0, -0.001, 48))
    assert raster.georeference(degrees).meters is None
    feet = raster.georeference(write(tmp_path / "c.tif", bands(), crs="EPSG:2263"))
    assert feet.meters == pytest.approx(0.3048, rel=1e-5)
    tifffile.imwrite(tmp_path / "d.tif", bands())
    assert raster.georeference(tmp_path / "d.tif") is None
    assert raster.georeference(tmp_path / "none.tif") is None
    assert raster.georeference(np.zeros((2, 2))) is None


GEOTIFF = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500_000.0, 5_400_000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
]
"""Tags of an image at `PLACE`."""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_is_stored_turned_is_upright(tmp_path, monkeypatch, orientation):
    """The whole image, its windows, its size and its place on the earth; with tifffile and without."""
    path, values = tmp_path / "a.tif", np.arange(54, dtype="uint8").reshape(6, 9)
    tags = [(274, "H", 1, orientation, True), *GEOTIFF]
    for bigtiff in (False, True):
        tifffile.imwrite(path, np.stack([values] * 3, -1), photometric="rgb", extratags=tags, bigtiff=bigtiff)
        whole = read_picture(path)
        image = raster.Raster(path, Pixels(), lambda *_: None)
        assert image.shape == whole.shape == ((6, 9, 3) if orientation < 5 else (9, 6, 3))
        for place in (np.s_[:, :], np.s_[1:4, 2:5], np.s_[5:9, 0:99]):
            np.testing.assert_array_equal(image[place], whole[place])
        assert image[::2, ::4].shape == whole[::2, ::4].shape
    to_map = Affine(*raster.georeference(path).transform)
    for row, column in ((0, 0), (1, 4), (5, 5)):
        stored_row, stored_column = divmod(int(whole[row, column, 0]), 9)
        found = to_map @ (column + 0.5, row + 0.5)
        assert found == PLACE @ (stored_column + 0.5, stored_row + 0.5)
    monkeypatch.setattr("kseg.data.decoding.tiff._tifffile", lambda: None)
    with path.open("rb") as file:
        np.testing.assert_array_equal(tiff.read_tiff(file, None).values, whole)
        assert tiff.tiff_size(file, None) == whole.shape[:2]


def test_the_place_is_that_of_the_first_page_and_without_rasterio_it_is_known_to_exist(tmp_path, monkeypatch):
    pages = np.zeros((2, 6, 9), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", extratags=GEOTIFF)
    tifffile.imwrite(tmp_path / "b.tif", pages[0])
    assert raster.georeference(tmp_path / "a.tif").transform == tuple(PLACE)[:6]
    assert not raster.lacks_rasterio(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert [raster.lacks_rasterio(tmp_path / f"{name}.tif") for name in "abc"] == [True, False, False]


@pytest.mark.parametrize("bigtiff", [False, True])
def test_damaged_files_have_no_georeference(tmp_path, monkeypatch, bigtiff):
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    tifffile.imwrite(path, np.zeros((4, 4), "uint8"), extratags=GEOTIFF, bigtiff=bigtiff)
    content = path.read_bytes()
    damaged = [content[:length] for length in (0, 1, 2, 3, 6, 8, 12, 15, 40)]
    for begin in rng.integers(4, 100, 30):
        damaged.append(content[:begin] + rng.bytes(8) + content[begin + 8 :])
    for rasterio_or_none in (rasterio, None):
        monkeypatch.setitem(sys.modules, "rasterio", rasterio_or_none)
        for each in damaged:
            path.write_bytes(each)
            raster.georeference(path)
            assert raster.lacks_rasterio(path) in ((False,) if rasterio_or_none or len(each) < 50 else (False, True))


def test_overviews_are_no_pages_and_nodata_is_black(tmp_path):
    values = bands("int16", 3000)
    values[:20] = -9999
    path = write(tmp_path / "a.tif", values, nodata=-9999, compress="lzw")
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    pixels = Pixels(range=(0, 3000), channels=5)
    for image in (read_picture(path, pixels), np.asarray(raster.Raster(path, pixels, lambda *_: None))):
        np.testing.assert_allclose(image[20:], values[20:] * (255 / 3000), rtol=1e-5)
        assert (image[:20] == 0).all()


def test_rasterio_reads_what_tifffile_would(tmp_path, monkeypatch):
    values = bands("float32", 200)
    path = write(tmp_path / "a.tif", values)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=5)), values)
    assert picture_size(path) == (200, 300)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_picture(file, Pixels(channels=5)), values)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ValueError, match=r"a\.tif: .* need tifffile: pip install 'kseg\[micro\]'"):
        read_picture(path, Pixels(channels=5))
    assert raster.georeference(path) is None


def test_a_mask_beside_which_gdal_marks_the_valid_pixels_is_read(tmp_path):
    label = np.arange(16, dtype="uint8").reshape(4, 4) % 3
    path = write(tmp_path / "m.tif", label[..., None])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(label > 0)
    assert np.array_equal(MaskReader(("a", "b", "c")).read(path), label)
