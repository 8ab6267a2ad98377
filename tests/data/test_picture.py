"""Images of all kinds: what their numbers mean, and what is refused."""

import ast
import io
import re
import sys
import tracemalloc
import warnings

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from kseg.data import Pixels, WarnOnce, picture, picture_size, read_picture
from kseg.data.decoding import decoded

SIZE = (12, 17)
RGB = Pixels()


def drawn(bands=3, dtype="uint8", top=None):
    """Random values up to `top`, which occurs."""
    top = np.iinfo(dtype).max if top is None else top
    values = np.random.default_rng(bands).integers(0, top + 1, (*SIZE, bands)).astype(dtype)
    values[0, 0] = top
    return values


def doubts(source, pixels=RGB):
    found = []
    image = read_picture(source, pixels, on_warning=lambda name, doubt: found.append(doubt))
    return image, found


def luma(rgb):
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


def test_files_images_and_arrays_are_the_same(tmp_path):
    pixels, path = drawn(), tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    np.save(tmp_path / "a.npy", pixels)
    with path.open("rb") as file:
        for source in (path, str(path), file, io.BytesIO(path.read_bytes()), Image.fromarray(pixels), pixels,
                       tmp_path / "a.npy"):  # fmt: skip
            found = read_picture(source)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm", "jp2"])
def test_eight_bits_are_themselves_in_every_lossless_format(tmp_path, suffix):
    pixels, path = drawn(), tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix in ("webp", "jp2") else {}))
    np.testing.assert_array_equal(read_picture(path), pixels)
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=1)), luma(pixels))
    np.testing.assert_array_equal(read_picture(path, Pixels(bands=(3, 1))), pixels[..., [2, 0]])
    assert picture_size(path) == SIZE


def test_palettes_inks_opacity_and_single_bits_are_converted(tmp_path):
    pixels, path = drawn(4), tmp_path / "a.png"
    gray = pixels[..., 0]
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_picture(path), pixels[..., :3])
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=4)), pixels)
    Image.fromarray(pixels[..., :2]).save(path)
    np.testing.assert_array_equal(read_picture(path), pixels[..., [0, 0, 0]])
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=2)), pixels[..., :2])
    Image.fromarray(gray > 99).save(path)
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=1))[..., 0], (gray > 99) * 255)
    palette = Image.fromarray(gray % 4)
    palette.putpalette([9, 8, 7, 1, 2, 3, 4, 5, 6, 0, 0, 200])
    for options in ({}, {"transparency": b"\0\xff"}):
        palette.save(path, **options)
        np.testing.assert_array_equal(read_picture(path)[gray % 4 == 3][0], [0, 0, 200])
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif")[0, 0], [255, 0, 0])


def written(path, values):
    """Writes all bits of an image, by libraries that are not Pillow."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values.squeeze(), photometric="rgb" if values.shape[-1] in (3, 4) else "minisblack")
    else:
        cv2.imwrite(str(path), values[..., [2, 1, 0, 3][: values.shape[-1]]] if values.shape[-1] > 2 else values)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_sixteen_bits_keep_all_bits(tmp_path, suffix, bands):
    values, path = drawn(bands, "uint16"), tmp_path / f"a{suffix}"
    written(path, values)
    found = read_picture(path, Pixels(bands=tuple(range(1, bands + 1))))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values / 257, rtol=1e-6)
    scaled = np.clip((values - 1000.0) * 255 / 3000, 0, 255)
    found, _ = doubts(path, Pixels(range=(1000, 4000), bands=tuple(range(1, bands + 1))))
    np.testing.assert_allclose(found, scaled, rtol=1e-5, atol=1e-4)
    if bands == 1:
        np.testing.assert_allclose(read_picture(path), np.repeat(values / 257, 3, -1), rtol=1e-6)
    else:
        weights = [0.299, 0.587, 0.114]
        rgb, _ = doubts(path)
        np.testing.assert_allclose(rgb, values[..., :3] / 257, rtol=1e-6)
        gray, _ = doubts(path, Pixels(channels=1))
        np.testing.assert_allclose(gray[..., 0], values[..., :3] / 257 @ weights, rtol=1e-5)


def test_colors_of_sixteen_bits_are_not_cut_in_other_formats(tmp_path):
    values = np.tile(drawn(3, "uint16"), (6, 4, 1))  # OpenCV writes no JPEG 2000 of a few pixels
    cv2.imwrite(str(tmp_path / "a.pgm"), values[..., 0])
    np.testing.assert_allclose(read_picture(tmp_path / "a.pgm"), values[..., [0, 0, 0]] / 257, rtol=1e-6)
    for name in ("a.ppm", "a.jp2"):
        options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if name == "a.jp2" else []
        cv2.imwrite(str(tmp_path / name), values[..., ::-1], options)
        np.testing.assert_allclose(read_picture(tmp_path / name), values / 257, rtol=1e-6)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values[..., :2].copy()))
    np.testing.assert_allclose(read_picture(tmp_path / "a.png", Pixels(channels=2)), values[..., :2] / 257, rtol=1e-6)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png"), values[..., [0, 0, 0]] / 257, rtol=1e-6)
    with Image.open(tmp_path / "a.ppm") as image:
        np.testing.assert_allclose(read_picture(image), values / 257, rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_camera_that_leaves_bits_empty_is_doubted_with_the_range_that_cures_it(tmp_path, bits):
    values = drawn(1, "uint16", 2**bits - 1)
    tifffile.imwrite(tmp_path / "a.tif", values)
    found, doubt = doubts(tmp_path / "a.tif", Pixels(channels=1))
    np.testing.assert_allclose(found, values / 257, rtol=1e-6)
    assert [f"range = [0, {2**bits - 1}]" in text for text in doubt] == [True] * (bits < 13)
    found, doubt = doubts(tmp_path / "a.tif", Pixels(range=(0, 2**bits - 1), channels=1))
    np.testing.assert_allclose(found, values * (255 / (2**bits - 1)), rtol=1e-5)
    assert doubt == []
    assert doubts(np.zeros(SIZE, "uint16"))[1] == []  # black


def test_percentiles_stretch_each_band_of_its_own():
    values = np.stack([np.arange(10_000).reshape(100, 100), np.full((100, 100), 7)], axis=-1).astype("int32")
    found = read_picture(values, Pixels(range="percentile", channels=2))
    low, high = np.percentile(values[..., 0], (1, 99))
    np.testing.assert_allclose(found[..., 0], np.clip((values[..., 0] - low) * 255 / (high - low), 0, 255), atol=1e-3)
    assert (found[..., 1] == 0).all()
    large = np.tile(values[..., :1], (40, 40, 1))
    np.testing.assert_allclose(read_picture(large, Pixels(range="percentile", channels=1))[:100, :100], found[..., :1],
                               atol=2)  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int16", -300, 900), ("uint32", 0, 70_000), ("int32", -5, 5), ("float32", -1, 1), ("float64", 0, 1)],
)
def test_other_numbers_need_a_range(tmp_path, dtype, low, high):
    values = np.random.default_rng(0).uniform(low, high, (*SIZE, 3)).astype(dtype)
    values[0, 0], values[0, 1] = low, high
    for name in ("a.tif", "a.npy"):
        written(tmp_path / name, values)
        if low < 0 or values.dtype.kind != "f":
            with pytest.raises(ValueError, match=rf"{name}: ") as caught:
                read_picture(tmp_path / name)
            cure = re.search(r"pixels=(Pixels\(range=.*?\))", str(caught.value))[1]
            read_picture(tmp_path / name, eval(cure), on_warning=lambda *_: None)
        found = read_picture(tmp_path / name, Pixels(range=(low, high)))
        np.testing.assert_allclose(found, (values.astype(float) - low) * 255 / (high - low), rtol=1e-5, atol=1e-4)


def test_positive_int16_is_half_of_uint16():
    values = drawn(3, "int16")
    np.testing.assert_allclose(read_picture(values), values * (255 / 32767), rtol=1e-6)


def test_images_divided_by_255_are_doubted_with_both_cures(tmp_path):
    values = np.random.default_rng(0).random((*SIZE, 3)).astype("float32")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    for source in (values, tmp_path / "a.tif"):
        found, doubt = doubts(source)
        np.testing.assert_array_equal(found, values)
        assert len(doubt) == 1 and "multiply by 255, or for a file give range = [0, 1]" in doubt[0]
        found, doubt = doubts(source, Pixels(range=(0, 1)))
        np.testing.assert_allclose(found, values * 255, rtol=1e-6)
        assert doubt == []
    assert doubts(values * 255)[1] == doubts(values * 0)[1] == []
    with pytest.warns(UserWarning, match=r"a\.tif: values from 0 to 1 are .* pixels=Pixels\(range=\[0, 1\]\)"):
        read_picture(tmp_path / "a.tif")


def test_a_range_that_cuts_off_much_is_doubted():
    assert doubts(drawn(), Pixels(range=(0, 100)))[1] == [
        "more than 1 of 20 values lie outside 0 to 100 and are clipped"
    ]
    assert doubts(drawn(), Pixels(range=(0, 255)))[1] == []


def test_no_band_is_dropped_without_a_word(tmp_path):
    five, path = drawn(5), tmp_path / "a.tif"
    for options in ({"planarconfig": "contig"}, {"planarconfig": "separate"}, {"tile": (16, 16), "compression": "lzw"}):
        planar = options.get("planarconfig") == "separate"
        tifffile.imwrite(path, np.moveaxis(five, -1, 0) if planar else five, photometric="minisblack",
                         **{"planarconfig": "contig", **options})  # fmt: skip
        with pytest.raises(ValueError, match=r"a\.tif: 5 bands where 3 are expected: .*Pixels\(bands=\[1, 2, 3\]\)"):
            read_picture(path)
        with pytest.raises(ValueError, match=r"a\.tif: band 6 is asked for, but the image has 5 bands"):
            read_picture(path, Pixels(bands=(6,)))
        np.testing.assert_array_equal(read_picture(path, Pixels(channels=5)), five)
        np.testing.assert_array_equal(read_picture(path, Pixels(bands=(4, 3, 2))), five[..., [3, 2, 1]])
        assert picture_size(path) == SIZE
    with pytest.raises(ValueError, match=r"3 bands where 5 are expected$"):
        read_picture(drawn(), Pixels(channels=5))
    with pytest.raises(ValueError, match=r"2 bands where 3 are expected: .*pixels=Pixels\(bands=\[1, 2\]\)$"):
        read_picture(drawn(2))


def test_a_fourth_band_of_a_tiff_or_an_array_may_be_opacity_or_not(tmp_path):
    four, path = drawn(4), tmp_path / "a.tif"
    tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unspecified"])  # infrared, say
    with pytest.raises(ValueError, match="4 bands where 3 are expected"):
        read_picture(path)
    np.testing.assert_array_equal(read_picture(path, Pixels(channels=4)), four)
    tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unassalpha"])
    for source in (path, four):
        found, doubt = doubts(source)
        np.testing.assert_array_equal(found, four[..., :3])
        assert len(doubt) == 1 and "band 4 of 4 is dropped as opacity" in doubt[0]
    four[..., 3] = np.where(four[..., 3] > 99, 255, 0)
    assert doubts(four)[1] == []
    assert doubts(Image.fromarray(four))[1] == []  # a PIL image says that it is


def stacks(path):
    """Writes files with 4 pages by six ways; returns the pages, and the bands of each."""
    pages = np.random.default_rng(4).integers(0, 256, (4, *SIZE)).astype("uint8")
    tifffile.imwrite(path, pages, photometric="minisblack")
    yield pages[..., None]
    tifffile.imwrite(path, pages, photometric="minisblack", compression="zlib")
    yield pages[..., None]
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"})
    yield pages[..., None]
    with tifffile.TiffWriter(path) as writer:
        for index, page in enumerate(pages):
            writer.write(page[: 12 - index], contiguous=False)
    yield [page[: 12 - index, :, None] for index, page in enumerate(pages)]
    both = np.stack([pages, 255 - pages], axis=1)  # (pages, channels, height, width)
    for options in ({"imagej": True, "metadata": {"axes": "ZCYX"}}, {"ome": True, "metadata": {"axes": "TCYX"}},
                    {"ome": True, "metadata": {"axes": "TCYX"}, "compression": "zlib"}):  # fmt: skip
        tifffile.imwrite(path, both, photometric="minisblack", **options)
        yield np.moveaxis(both, 1, -1)
    color = np.stack([pages, pages // 2, 255 - pages], axis=-1)
    tifffile.imwrite(path, color, photometric="rgb")
    yield color


def test_a_page_of_several_is_chosen_or_the_file_refused(tmp_path):
    path = tmp_path / "a.tif"
    for pages in stacks(path):
        with pytest.raises(ValueError, match=r"a\.tif: 4 pages: choose one, such as pixels=Pixels\(page=1\)"):
            read_picture(path)
        for number, page in enumerate(pages, start=1):
            found = read_picture(path, Pixels(page=number, channels=page.shape[-1]))
            np.testing.assert_array_equal(found, page)
            assert picture_size(path, page=number) == page.shape[:2]
        with pytest.raises(ValueError, match=r"page 5 is asked for, but the file has 4 pages"):
            read_picture(path, Pixels(page=5))
    with pytest.raises(ValueError, match=r"page 2 is asked for, but an array has no pages: leave out page="):
        read_picture(drawn(), Pixels(page=2))


def test_an_imagej_stack_with_one_directory_is_a_stack(tmp_path):
    """ImageJ writes large stacks as one page and leaves the others to its description."""
    pages = np.random.default_rng(4).integers(0, 256, (4, *SIZE)).astype("uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pages[0], description="ImageJ=1.54f\nimages=4\nslices=4\n", metadata=None, byteorder=">")
    with path.open("ab") as file:
        file.write(pages[1:].astype(">u2").tobytes())
    with pytest.raises(ValueError, match="4 pages: choose one"):
        read_picture(path)
    for number in (1, 4):
        found, _ = doubts(path, Pixels(page=number, channels=1))
        np.testing.assert_allclose(found[..., 0], pages[number - 1] / 257, rtol=1e-6)


def test_pages_with_one_band_each_can_be_named_as_bands(tmp_path):
    pages = np.random.default_rng(4).integers(0, 256, (4, *SIZE)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.tif", Pixels(bands=(4, 1))), np.moveaxis(pages, 0, -1)[..., [3, 0]]
    )


def test_moving_pictures_are_pages_and_previews_of_phones_are_not(tmp_path):
    first, second = (Image.fromarray(drawn(3) // divisor) for divisor in (1, 2))
    for name in ("a.gif", "a.webp", "a.png"):
        first.save(tmp_path / name, save_all=True, append_images=[second], lossless=True)
        with pytest.raises(ValueError, match="2 pages: choose one"):
            read_picture(tmp_path / name)
        assert read_picture(tmp_path / name, Pixels(page=2)).mean() < 0.6 * np.asarray(first).mean()
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert read_picture(tmp_path / "a.jpg").shape == (*SIZE, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_by_their_exif_orientation(tmp_path, orientation):
    pixels, exif = drawn(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif)
    tifffile.imwrite(tmp_path / "b.tif", pixels.astype("float32"), photometric="rgb",
                     extratags=[(274, "H", 1, orientation)])  # fmt: skip
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_picture(image), expected)
        assert image.size == SIZE[::-1]  # the caller's image is unchanged
    for name in ("a.png", "a.tif", "b.tif"):
        np.testing.assert_array_equal(read_picture(tmp_path / name), expected)
        assert picture_size(tmp_path / name) == expected.shape[:2]


def test_the_size_of_a_png_is_read_without_decoding_it(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert picture_size(tmp_path / "a.png") == SIZE
    with pytest.raises(ValueError, match=r"a\.png: not an image that can be read .*truncated"):
        read_picture(tmp_path / "a.png")


def test_damaged_files_are_named(tmp_path):
    """A random change of a file gives pixels, or an error that names it, of reading and of the size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    random = np.random.default_rng(0)
    for name in ("a.png", "a.webp", "a.jpg", "a.tif", "b.tif", "a.npy", "b.png"):
        path = tmp_path / name
        if name[0] == "a" and name != "a.npy":
            Image.fromarray(drawn()).save(path, exif=exif)
        else:
            written(path, drawn(3, "uint16"))
        whole = path.read_bytes()
        for _ in range(60):
            damaged = np.frombuffer(whole, "uint8").copy()
            damaged[random.integers(len(damaged), size=3)] = random.integers(0, 256, 3)
            path.write_bytes(damaged[: random.integers(20, len(damaged) + 1)].tobytes())
            for call in (lambda path: doubts(path, Pixels(range=(0, 255))), picture_size):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        call(path)
                    except ValueError as error:
                        assert str(path) in str(error)


def test_errors_name_the_file(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "a.tif").write_bytes(b"II*\0 no image")
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2, 2)))
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    for source, error, message in (
        (tmp_path / "a.png", ValueError, "a.png: not an image that can be read$"),
        (tmp_path / "a.tif", ValueError, "a.tif: not an image that can be read"),
        (tmp_path / "b.png", FileNotFoundError, "no image at .*b.png"),
        (tmp_path / "a.npy", ValueError, r"a.npy: .*\(H, W\) or \(H, W, C\), got float64 \(2, 2, 2, 2\)"),
        (tmp_path / "b.npy", ValueError, "b.npy: not an image that can be read .*objects"),
        (np.zeros((2, 2, 7), "uint8"), ValueError, "7 bands where 3 are expected"),
        (np.zeros((0, 2, 3), "uint8"), ValueError, "got uint8 \\(0, 2, 3\\)"),
        (np.zeros((2, 2, 3), bool), ValueError, "got bool"),
        (
            np.full((2, 2), -1.0),
            ValueError,
            r"got -1 to -1: say what they mean, .*Pixels\(range=\[-1, 0\]\)",
        ),
        (Image.new("I", (2, 2)), ValueError, "int32 values have no known range"),
        (np.full((2, 2, 3), np.nan), ValueError, "values from 0 to 255, got nan to nan"),
    ):
        with pytest.raises(error, match=message):
            read_picture(source)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-50, 4000, "int16"), (0, 4000, "float32"), (-50, 4000, "float32"), (-0.9, 0.9, "float64"), (0, 70000, "uint32"),
     (-3, 3_000_000, "int64"), (-9, -5, "int16"), (0, 0, "int32")],
)  # fmt: skip
def test_the_range_that_a_message_proposes_fits_the_values(low, high, dtype):
    values = np.linspace(low, high, 48).reshape(4, 4, 3).astype(dtype)
    with pytest.raises(ValueError, match=r"range=\[") as caught:
        read_picture(values)
    span = ast.literal_eval(re.search(r"range=(\[.*?\])", str(caught.value))[1])
    found, doubt = doubts(values, Pixels(range=tuple(span)))
    assert doubt == [] and (found.max() > 100 or low == high)


@pytest.mark.parametrize(
    "options",
    [{"range": (5, 5)}, {"range": (0, 1, 2)}, {"range": "percentiles"}, {"range": (0, float("inf"))}, {"bands": ()},
     {"range": 4095}, {"bands": (0, 1)}, {"bands": (1.5,)}, {"bands": "rgb"}, {"page": 0}, {"channels": 0}],
)  # fmt: skip
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Pixels(**options)


@pytest.mark.parametrize("options", [{}, {"range": "percentile"}, {"range": (0, 4095), "bands": (4, 3, 2), "page": 2}])
def test_pixels_survive_json(options):
    pixels = Pixels(**options)
    assert Pixels.from_json(pixels.to_json()) == pixels


def test_values_without_data_are_black_and_count_for_nothing(tmp_path):
    values = drawn(1, "int16", 800)
    values[3:6] = -9999
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9999")])
    for span in ((0, 800), "percentile"):
        found = read_picture(tmp_path / "a.tif", Pixels(range=span, channels=1))
        assert (found[3:6] == 0).all() and found.max() == 255 and 100 < np.median(found[6:]) < 155
    values = drawn(1, "uint8").astype("float32")
    values[0, 0] = np.nan
    found, doubt = doubts(values, Pixels(range=(0, 255), channels=1))
    assert found[0, 0] == 0 and doubt == ["values that are not numbers (NaN) are read as 0"]


def test_images_are_read_beyond_the_limit_of_pillow_up_to_that_of_kseg(tmp_path, monkeypatch):
    """Pillow warns at 89 million pixels and refuses twice as many; kseg reads 20,000 x 20,000."""
    assert decoded.MAX_PIXELS >= 20_000**2 > 2 * Image.MAX_IMAGE_PIXELS
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr("kseg.data.decoding.image_file.STRIP", 34)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), drawn())
        assert picture_size(tmp_path / "a.png") == SIZE
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(decoded, "MAX_PIXELS", 12 * 17 - 1)
    written(tmp_path / "a.tif", drawn(3, "uint16"))
    for name in ("a.png", "a.tif"):
        with pytest.raises(ValueError, match=rf"{name}: 17 x 12 pixels, more than 203: cut it .* 'kseg\[geo\]'"):
            read_picture(tmp_path / name)
    np.testing.assert_array_equal(read_picture(drawn()), drawn())  # arrays have no limit


def test_reading_needs_memory_for_the_pixels_and_one_strip(tmp_path, monkeypatch):
    """Pillow needs 4 more bytes per pixel, not traced here: 2.8 GB in all for 20,000 x 20,000."""
    pixels = np.zeros((1000, 700, 3), "uint8")
    pixels[::7] = 90
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr("kseg.data.decoding.image_file.STRIP", 700 * 10)
    tracemalloc.start()
    found = read_picture(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, pixels)
    assert peak < 1.3 * pixels.nbytes


def test_a_memory_map_is_not_read(tmp_path):
    mapped = np.memmap(tmp_path / "pixels", "uint8", "w+", shape=(5, 7, 3))
    assert np.shares_memory(read_picture(mapped), mapped)


def test_the_same_doubt_is_raised_once():
    once = WarnOnce()
    with pytest.warns(UserWarning) as caught:
        for _ in range(3):
            read_picture(np.ones((2, 2), "uint16"), on_warning=once)
            read_picture(np.ones((2, 2), "float32"), on_warning=once)
    assert len(caught) == 2


def test_tiff_files_that_pillow_reads_whole_need_no_tifffile(tmp_path, monkeypatch):
    values = {"a.tif": drawn(), "b.tif": drawn(1), "c.tif": drawn(1, "uint16")}
    for name, each in values.items():
        written(tmp_path / name, each)
    written(tmp_path / "d.tif", drawn(3, "uint16"))
    for name in ("tifffile", "rasterio"):
        monkeypatch.setitem(sys.modules, name, None)
    for name, each in values.items():
        found = read_picture(tmp_path / name, Pixels(channels=each.shape[-1]))
        np.testing.assert_allclose(found, each / (257 if each.dtype == np.uint16 else 1), rtol=1e-6)
    with pytest.raises(ValueError, match=r"d\.tif: .* need tifffile: pip install 'kseg\[micro\]'"):
        read_picture(tmp_path / "d.tif")


def test_the_suffixes_are_of_what_is_read():
    assert {".png", ".jpg", ".webp", ".bmp", ".tif", ".tiff", ".npy"} <= set(picture.SUFFIXES)
