import json
import re

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data.masks import MaskReader
from tests.data.folders import ids, write

CLASSES = ("sky", "road", "car")
PALETTE = ((0, 0, 255), (90, 90, 90), (255, 0, 0))


def indexed():
    """A palette PNG whose colors are not those of `PALETTE`."""
    mask = Image.fromarray(ids([0, 1], [2, 2])).convert("P")
    mask.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0])
    return mask


CELLS = ("background", "cell")
RED, BLUE, BLACK, OTHER = [255, 0, 0], [0, 0, 255], [0, 0, 0], [1, 2, 3]


@pytest.mark.parametrize(
    ("reader", "pixels", "expected"),
    [
        pytest.param(MaskReader(CLASSES), ids([0, 1], [2, 255]), [[0, 1], [2, 255]], id="gray"),
        pytest.param(MaskReader(CLASSES, ignore=(11, 12)), ids([0, 11], [12, 2]), [[0, 255], [255, 2]], id="ignored"),
        pytest.param(MaskReader(CLASSES, ignore=11), ids([0, 11]), [[0, 255]], id="one value ignored"),
        pytest.param(MaskReader(CLASSES, PALETTE), indexed(), [[0, 1], [2, 2]], id="palette PNG"),
        pytest.param(MaskReader(CLASSES, PALETTE), ids([BLUE, RED]), [[0, 2]], id="RGB"),
        pytest.param(MaskReader(CLASSES, PALETTE), ids([[*BLUE, 255], [*RED, 255]]), [[0, 2]], id="RGBA"),
        pytest.param(MaskReader(CLASSES, PALETTE, ignore=[BLACK]), ids([RED, BLACK]), [[2, 255]], id="ignored color"),
        pytest.param(MaskReader(CLASSES), ids([[1, 1, 1], [2, 2, 2]]), [[1, 2]], id="gray saved as RGB"),
        pytest.param(MaskReader(CELLS, values=(0, 255)), ids([0, 255]), [[0, 1]], id="black and white"),
        pytest.param(MaskReader(CELLS), np.array([[False, True]]), [[0, 1]], id="one bit"),
    ],
)
def test_masks_of_every_kind_are_read_as_class_ids(tmp_path, reader, pixels, expected):
    label = reader.read(write(tmp_path / "m.png", pixels))
    assert label.dtype == np.uint8
    assert label.tolist() == expected


@pytest.mark.parametrize(
    ("reader", "pixels", "message"),
    [
        (
            MaskReader(CLASSES, PALETTE),
            ids([RED, OTHER]),
            r"mask values \(1, 2, 3\) \(1 pixels\) are outside the 3 classes",
        ),
        (MaskReader(CLASSES), ids([0, 7], [7, 9]), r"mask values 7 \(2 pixels\), 9 \(1 pixels\) are outside"),
        (MaskReader(CLASSES), ids([RED]), "this is a color mask and there is no palette"),
        (
            MaskReader(CLASSES),
            np.array([[0, 300, 300]], np.uint16),
            r"mask values 300 \(2 pixels\) are outside the 3 classes",
        ),
        (MaskReader(CLASSES), None, "cannot be read as a mask"),
    ],
)
def test_masks_that_cannot_be_read_are_named(tmp_path, reader, pixels, message):
    path = tmp_path / "m.png"
    path.write_text("not an image") if pixels is None else write(path, pixels)
    with pytest.raises(ValueError, match=rf"m\.png: {message}"):
        reader.read(path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_black_and_white_masks_without_values_are_explained(tmp_path, mode):
    path = write(tmp_path / "m.png", Image.fromarray(ids([0, 255])).convert(mode))
    with pytest.raises(ValueError, match=r"if 255 is class 1, give values=\[0, 255\]"):
        MaskReader(CELLS).read(path)
    assert MaskReader(CELLS, ignore=[255]).read(path).tolist() == [[0, 255]]


@pytest.mark.parametrize("options", [{}, {"values": (0, 255, 2)}, {"values": (0, 128, 2)}])
def test_gray_levels_of_as_many_as_classes_are_the_cure(tmp_path, options):
    path = write(tmp_path / "m.png", ids([0, 128, 200 if 128 in options.get("values", ()) else 255]))
    with pytest.raises(ValueError, match="if its gray levels are the classes") as caught:
        MaskReader(CLASSES, **options).read(path)
    values = json.loads(re.search(r"values=(\[.*\])", str(caught.value))[1])
    assert set(MaskReader(CLASSES, values=values).read(path).ravel().tolist()) == {0, 1, 2}
    part = write(tmp_path / "p.png", ids([0, 90, 90]))
    with pytest.raises(ValueError, match=r"give values=, the gray level of each class$"):
        MaskReader(CLASSES, **options).read(part)


@pytest.mark.parametrize("classes", [CELLS, CLASSES], ids=["two", "three"])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(ids([0, 0, 255, 255]), id="gray"),
        pytest.param(ids([0, 1, 255, 255]), id="with a 1"),
        pytest.param(ids([[0] * 3, [255] * 3]), id="RGB"),
        pytest.param(np.array([[0, 255]], np.int32), id="32 bits"),
        pytest.param(np.array([[0, 255]], np.float32), id="float"),
        pytest.param(Image.fromarray(ids([[0] * 3, [255] * 3])).convert("CMYK"), id="CMYK"),
    ],
)
def test_255_as_the_only_foreground_is_refused_in_any_form(tmp_path, mask, classes):
    path = write(tmp_path / "m.tif", mask)
    with pytest.raises(ValueError, match=r"m\.tif: most pixels above class 0 are 255"):
        MaskReader(classes).read(path)
    expected = np.asarray(MaskReader(classes, ignore=255).read(path))
    assert (expected == 255).any()
    assert (MaskReader(CELLS, values=(0, 255), ignore=1).read(path)[expected == 255] == 1).all()


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16", "float64"]
)
def test_whole_numbers_of_any_type_are_read_and_others_counted(tmp_path, dtype):
    for values, message in (([0, 1, 2], ""), ([0, -1, -1], r"-1 \(2 pixels\)"), ([0.5, 0.5, 1], r"0.5 \(2 pixels\)")):
        mask = np.array([values])
        if not (mask.astype(dtype) == mask).all():
            continue  # the type has no such numbers
        tifffile.imwrite(tmp_path / "m.tif", mask.astype(dtype))
        np.save(tmp_path / "m.npy", mask.astype(dtype))
        for path in (tmp_path / "m.tif", tmp_path / "m.npy"):
            if not message:
                assert MaskReader(CLASSES).read(path).tolist() == mask.tolist()
                continue
            with pytest.raises(ValueError, match=f"mask values {message} are outside the 3 classes"):
                MaskReader(CLASSES).read(path)
            if -1 in mask:
                assert MaskReader(CLASSES, ignore=-1).read(path).tolist() == [[0, 255, 255]]


def test_booleans_of_tifffile_and_scikit_image_are_read_as_written(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.array([[False, True, True]]))
    for reader in (MaskReader(CELLS), MaskReader(CELLS, values=(0, 255))):
        assert reader.read(tmp_path / "m.tif").tolist() == [[0, 1, 1]]


def test_colors_of_16_bits_keep_their_low_bytes(tmp_path):
    label = np.array([[0, 1, 2]])
    for pixels, reader in (
        (np.repeat(label[..., None], 3, axis=-1), MaskReader(CLASSES)),
        (np.array(PALETTE)[label] * 257, MaskReader(CLASSES, PALETTE)),
    ):
        pixels = pixels.astype("uint16")
        assert cv2.imwrite(str(tmp_path / "m.png"), pixels[..., ::-1])
        tifffile.imwrite(tmp_path / "m.tif", pixels, photometric="rgb")
        tifffile.imwrite(tmp_path / "n.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate")
        for name in ("m.png", "m.tif", "n.tif"):
            assert reader.read(tmp_path / name).tolist() == label.tolist()


def palette_image(indices, *colors):
    mask = Image.fromarray(ids(indices)).convert("P")
    mask.putpalette([value for color in colors for value in color])
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(palette_image([0, 1, 2], *PALETTE), [0, 1, 2], id="in order"),
        pytest.param(palette_image([0, 1, 2], *PALETTE[::-1]), [2, 1, 0], id="in another order"),
        pytest.param(palette_image([0, 1, 2], (1, 1, 1), (2, 2, 2), (3, 3, 3)), [0, 1, 2], id="other colors"),
        pytest.param(palette_image([0, 1, 255], *PALETTE, *[(0, 0, 255)] * 253), [0, 1, 255], id="void 255 padded"),
        pytest.param(
            palette_image([0, 1, 255], *PALETTE[::-1], *[(0, 0, 255)] * 253), [2, 1, 255], id="void 255, another order"
        ),
        pytest.param(
            palette_image([0, 1, 255], *PALETTE[::-1], *[(8, 8, 8)] * 252, (9, 9, 9)),
            [2, 1, 255],
            id="void 255 colored",
        ),
        pytest.param(Image.fromarray(np.array(PALETTE, "uint8")[None]).quantize(3), [0, 1, 2], id="quantized"),
    ],
)
def test_a_palette_image_is_decoded_by_its_colors_if_they_are_those_of_other_classes(tmp_path, mask, expected):
    for name in ["m.png"] + ["m.gif"] * (255 not in expected):  # GIF files are renumbered when they are written
        assert MaskReader(CLASSES, PALETTE).read(write(tmp_path / name, mask)).tolist() == [expected]


def test_a_palette_image_whose_indices_and_colors_contradict_is_refused(tmp_path):
    path = write(tmp_path / "m.png", palette_image([0, 1, 2], PALETTE[1], (1, 1, 1), PALETTE[2]))
    with pytest.raises(ValueError, match=r"index 0 has the color \(90, 90, 90\) of class 1, .* of index 1 is not in"):
        MaskReader(CLASSES, PALETTE).read(path)
    assert MaskReader(CLASSES).read(path).tolist() == [[0, 1, 2]]


def test_a_black_and_white_palette_image_is_read_by_its_brightness(tmp_path):
    path = write(tmp_path / "m.png", palette_image([0, 1], (255, 255, 255), (0, 0, 0)))
    for classes, values in ((CELLS, "[0, 255]"), (CLASSES, "[0, 255, 2]")):
        with pytest.raises(ValueError, match=rf"index 0 of this palette image is white: .* values={re.escape(values)}"):
            MaskReader(classes).read(path)
    assert MaskReader(CELLS, values=(0, 1)).read(path).tolist() == [[0, 1]]  # the indices, as stated
    red = write(tmp_path / "r.png", palette_image([0, 1], (255, 255, 255), (255, 0, 0)))
    assert MaskReader(CELLS).read(red).tolist() == [[0, 1]]
    assert MaskReader(CELLS, values=(0, 255)).read(path).tolist() == [[1, 0]]
    assert MaskReader(CELLS, [BLACK, [255] * 3]).read(path).tolist() == [[1, 0]]
    assert MaskReader(CELLS, [BLACK, [255] * 3]).read(write(tmp_path / "n.png", ids([0, 255]))).tolist() == [[0, 1]]


def test_palette_images_that_number_their_colors_differently_need_a_palette(tmp_path):
    first = write(tmp_path / "a.png", palette_image([0, 1, 2], *PALETTE))
    second = write(tmp_path / "b.png", palette_image([0, 1, 2], PALETTE[0], PALETTE[2], PALETTE[1]))
    reader = MaskReader(CLASSES)
    assert reader.read(first).tolist() == [[0, 1, 2]]
    with pytest.raises(
        ValueError, match=r"b\.png: index 1 has the color \(255, 0, 0\), which index 2 has in a\.png: give"
    ):
        reader.read(second)
    assert MaskReader(CLASSES, PALETTE).read(second).tolist() == [[0, 2, 1]]
    third = write(tmp_path / "c.png", palette_image([0, 1], PALETTE[0], PALETTE[2]))
    reader = MaskReader(CLASSES)
    reader.read(first)
    with pytest.raises(ValueError, match=r"c\.png: index 1 .* \(255, 0, 0\), which index 2 has in a\.png"):
        reader.read(third)
    other = write(tmp_path / "d.png", palette_image([0, 1], PALETTE[0], (1, 2, 3)))
    with pytest.raises(
        ValueError, match=r"d\.png: index 1 .* \(1, 2, 3\), but \(90, 90, 90\) in a\.png: .*values=\[0, 1"
    ):
        reader.read(other)
    assert MaskReader(CLASSES, values=[0, 1, 2]).read(other).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("palette", "mask", "expected"),
    [
        pytest.param([BLACK, RED, [255] * 3], np.array([[False, True]]), [0, 2], id="one bit"),
        pytest.param([BLACK, RED, [255] * 3], ids([0, 255]), [0, 2], id="white"),
        pytest.param([BLACK, RED, [255] * 3], np.array([[0, 65535]], np.uint16), [0, 2], id="white of 16 bits"),
        pytest.param([BLACK, [90] * 3, RED], ids([0, 90]), [0, 1], id="gray levels"),
        pytest.param([BLACK, RED, [255] * 3], ids([0, 1, 2]), [0, 1, 2], id="ids"),
    ],
)
def test_gray_masks_are_ids_or_levels_of_the_palette(tmp_path, palette, mask, expected):
    path = write(tmp_path / "m.png", mask)
    assert MaskReader(CLASSES, palette).read(path).tolist() == [expected]
    if mask.max() > 2 or mask.dtype == bool:
        with pytest.raises(ValueError, match="black is the color of another class than the mask value 0"):
            MaskReader(CLASSES, palette[::-1]).read(path)


def test_a_mask_has_one_page_and_may_have_overviews(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(ids([0, 1], [2, 0]))
        file.write(ids([0]), subfiletype=1)
    assert MaskReader(CLASSES).read(tmp_path / "m.tif").tolist() == [[0, 1], [2, 0]]
    for pages, options in ((2, {}), (1, {"description": "ImageJ=1.54f\nimages=2\n", "metadata": None})):
        tifffile.imwrite(tmp_path / "m.tif", np.zeros((pages, 4, 5), "uint8"), photometric="minisblack", **options)
        with pytest.raises(ValueError, match=r"m\.tif: 2 pages where a mask has one"):
            MaskReader(CLASSES).read(tmp_path / "m.tif")


def test_no_band_of_a_mask_is_dropped_but_opacity(tmp_path):
    label = ids([0, 1, 2], [2, 1, 0])
    for count, dtype in ((2, "uint8"), (2, "float32"), (4, "uint8"), (5, "uint8")):
        one_hot = np.eye(count)[np.minimum(label, count - 1)].astype(dtype)
        kind, more = ("rgb", count - 3) if count == 4 else ("minisblack", count - 1)
        tifffile.imwrite(tmp_path / "m.tif", one_hot, photometric=kind, planarconfig="contig", extrasamples=[0] * more)
        np.save(tmp_path / "m.npy", one_hot)
        for name, message in (("m.npy", "save argmax"), ("m.tif", "save")):
            with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
                MaskReader(CLASSES).read(tmp_path / name)


def test_a_mask_is_turned_like_its_image(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(ids([0, 1, 2])).save(tmp_path / "m.png", exif=turned)
    assert MaskReader(CLASSES).read(tmp_path / "m.png").tolist() == [[0], [1], [2]]
    for dtype in ("uint8", "uint16", "float32", "float64"):
        tifffile.imwrite(tmp_path / "m.tif", np.array([[0, 1, 2]], dtype), extratags=[(274, 3, 1, 6, True)])
        assert MaskReader(CLASSES).read(tmp_path / "m.tif").tolist() == [[0], [1], [2]]


def test_every_class_has_values_of_its_own():
    with pytest.raises(ValueError, match="values lists 2 mask values for 3 classes"):
        MaskReader(CLASSES, values=(0, 255))
    with pytest.raises(ValueError, match="mask value 1 has two meanings"):
        MaskReader(CLASSES, ignore=(1,))
    with pytest.raises(ValueError, match=r"palette color \(255, 0, 0\) has two meanings"):
        MaskReader(CLASSES, PALETTE, ignore=[(255, 0, 0)])


def test_a_mask_that_claims_more_than_fits_is_named(tmp_path):
    path = tmp_path / "m.npy"
    for shape, size, message in (
        ((30_000, 30_000), 0, "30000 x 30000 pixels"),
        ((4000, 4000), 100, "cannot be read as"),
    ):
        np.lib.format.open_memmap(path, "w+", "uint8", shape)  # takes no space
        if size:
            path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"m\.npy: {message}"):
            MaskReader(CLASSES).read(path)
