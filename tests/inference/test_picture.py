"""Images of all kinds, and invalid ones."""

import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from kseg.inference import picture, read_image


def photo(height=12, width=17):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")


def test_files_images_and_arrays_are_the_same(tmp_path):
    pixels, path = photo(), tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with path.open("rb") as file:
        for source in (path, str(path), file, Image.fromarray(pixels), pixels):
            np.testing.assert_array_equal(read_image(source), pixels)


def test_every_kind_of_file_is_read(tmp_path):
    pixels = photo()
    gray = pixels[..., 0]
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([pixels, gray])).save(path)
    np.testing.assert_array_equal(read_image(path), pixels)
    Image.fromarray(gray).save(path)
    np.testing.assert_array_equal(read_image(path), np.dstack([gray] * 3))
    Image.fromarray(gray.astype("uint16") * 257).save(path)
    np.testing.assert_array_equal(read_image(path), np.dstack([gray] * 3))
    palette = Image.fromarray(gray % 4)
    palette.putpalette([9, 8, 7, 1, 2, 3, 4, 5, 6, 0, 0, 200])
    for options in ({}, {"transparency": b"\0\xff"}):
        palette.save(path, **options)
        np.testing.assert_array_equal(read_image(path)[gray % 4 == 3][0], [0, 0, 200])
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0, 0], [255, 0, 0])


def test_photos_are_rotated_by_their_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate clockwise by 90 degrees
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(photo(), -1))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(read_image(image), np.rot90(photo(), -1))
        assert image.size == (17, 12)  # the caller's image is unchanged


def test_errors_name_the_file(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    Image.fromarray(photo(100, 100)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:5000])
    Image.fromarray(photo()[..., 0].astype("int32")).save(tmp_path / "long.tif")
    Image.fromarray(photo()[..., 0].astype("float32")).save(tmp_path / "real.tif")
    for source, error, message in (
        (tmp_path / "a.png", ValueError, "a.png: not an image that can be read"),
        (tmp_path / "b.png", FileNotFoundError, "no image at .*b.png"),
        (tmp_path / "cut.png", ValueError, "cut.png: not an image that can be read .*truncated"),
        (tmp_path / "long.tif", ValueError, "long.tif: 32-bit pixels .*convert them to 8 or 16 bits"),
        (tmp_path / "real.tif", ValueError, "real.tif: floating-point pixels .*convert them"),
        (np.zeros((2, 2, 7), "uint8"), ValueError, "got uint8 \\(2, 2, 7\\)"),
        (np.zeros((0, 2, 3), "uint8"), ValueError, "got uint8 \\(0, 2, 3\\)"),
        (np.zeros((2, 2, 3), bool), ValueError, "got bool"),
        (Image.new("F", (2, 2)), ValueError, "no known range"),
        (Image.new("I", (2, 2)), ValueError, "32-bit"),
    ):
        with pytest.raises(error, match=message):
            read_image(source)


def test_images_are_read_beyond_the_limit_of_pillow_up_to_that_of_kseg(tmp_path, monkeypatch):
    """Pillow warns at 89 million pixels and refuses twice as many; kseg reads 20,000 x 20,000."""
    assert picture.MAX_PIXELS >= 20_000**2 > 2 * Image.MAX_IMAGE_PIXELS
    Image.fromarray(photo()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), photo())
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(picture, "MAX_PIXELS", 12 * 17 - 1)
    with pytest.raises(ValueError, match=r"a\.png: 17 x 12 pixels, more than 203: cut it .* numpy\.memmap"):
        read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(photo()), photo())  # arrays have no limit


def test_reading_needs_memory_for_the_pixels_and_one_strip(tmp_path, monkeypatch):
    """Pillow needs 4 more bytes per pixel, not traced here: 2.8 GB in all for 20,000 x 20,000."""
    pixels = np.zeros((1000, 700, 3), "uint8")
    pixels[::7] = 90
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(picture, "STRIP", 700 * 10)
    tracemalloc.start()
    found = read_image(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, pixels)
    assert peak < 1.3 * pixels.nbytes


def test_a_memory_map_is_not_read(tmp_path):
    mapped = np.memmap(tmp_path / "pixels", "uint8", "w+", shape=(5, 7, 3))
    assert np.shares_memory(read_image(mapped), mapped)
