import numpy as np
import pytest
from PIL import Image

from kseg.data.masks import MaskReader
from tests.data.folders import ids, write

CLASSES = ("sky", "road", "car")
PALETTE = ((0, 0, 255), (90, 90, 90), (255, 0, 0))


def test_gray_masks_hold_class_ids(tmp_path):
    label = MaskReader(CLASSES).read(write(tmp_path / "m.png", ids([0, 1], [2, 255])))
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1], [2, 255]]


def test_ignored_values_become_255(tmp_path):
    path = write(tmp_path / "m.png", ids([0, 11], [12, 2]))
    assert MaskReader(CLASSES, ignore=(11, 12)).read(path).tolist() == [[0, 255], [255, 2]]
    path = write(tmp_path / "m.png", ids([0, 11]))
    assert MaskReader(CLASSES, ignore=11).read(path).tolist() == [[0, 255]]


def test_palette_pngs_are_read_as_ids_whatever_their_colors(tmp_path):
    mask = Image.fromarray(ids([0, 1], [2, 2]), "L").convert("L")
    indexed = Image.new("P", mask.size)
    indexed.putdata(list(mask.getdata()) if not hasattr(mask, "get_flattened_data") else mask.get_flattened_data())
    indexed.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0])
    assert MaskReader(CLASSES, PALETTE).read(write(tmp_path / "m.png", indexed)).tolist() == [[0, 1], [2, 2]]


@pytest.mark.parametrize("alpha", [False, True])
def test_rgb_masks_are_decoded_by_the_palette(tmp_path, alpha):
    expected = np.random.default_rng(0).integers(0, 3, (9, 7))
    colors = np.array(PALETTE, np.uint8)[expected]
    if alpha:
        colors = np.concatenate([colors, np.full((9, 7, 1), 255, np.uint8)], axis=-1)
    assert (MaskReader(CLASSES, PALETTE).read(write(tmp_path / "m.png", colors)) == expected).all()


def test_ignored_colors_become_255(tmp_path):
    path = write(tmp_path / "m.png", np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8))
    assert MaskReader(CLASSES, PALETTE, ignore=[(0, 0, 0)]).read(path).tolist() == [[2, 255]]


def test_a_stray_color_is_named(tmp_path):
    path = write(tmp_path / "m.png", np.array([[[255, 0, 0], [1, 2, 3]]], np.uint8))
    with pytest.raises(ValueError, match=r"m\.png: mask values \(1, 2, 3\) \(1 pixels\) are outside the 3 classes"):
        MaskReader(CLASSES, PALETTE).read(path)


def test_a_stray_id_is_named_with_its_file(tmp_path):
    path = write(tmp_path / "m.png", ids([0, 7], [7, 9]))
    with pytest.raises(ValueError, match=r"m\.png: mask values 7 \(2 pixels\), 9 \(1 pixels\) are outside"):
        MaskReader(CLASSES).read(path)


def test_rgb_masks_without_palette_ask_for_one(tmp_path):
    path = write(tmp_path / "m.png", np.array([[[255, 0, 0]]], np.uint8))
    with pytest.raises(ValueError, match=r"m\.png: this is a color mask and there is no palette"):
        MaskReader(CLASSES).read(path)


def test_gray_masks_saved_as_rgb_hold_ids(tmp_path):
    path = write(tmp_path / "m.png", np.array([[[1, 1, 1], [2, 2, 2]]], np.uint8))
    assert MaskReader(CLASSES).read(path).tolist() == [[1, 2]]


def test_black_and_white_masks_are_read_with_values(tmp_path):
    path = write(tmp_path / "m.png", ids([0, 255]))
    assert MaskReader(("background", "cell"), values=(0, 255)).read(path).tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_black_and_white_masks_without_values_are_explained(tmp_path, mode):
    path = write(tmp_path / "m.png", Image.fromarray(ids([0, 255])).convert(mode))
    with pytest.raises(ValueError, match=r"for black-and-white masks pass values=\[0, 255\]"):
        MaskReader(("background", "cell")).read(path)
    assert MaskReader(("background", "cell"), ignore=[255]).read(path).tolist() == [[0, 255]]


def test_one_bit_masks_are_read(tmp_path):
    path = write(tmp_path / "m.png", Image.fromarray(np.array([[False, True]])))
    assert MaskReader(("background", "cell")).read(path).tolist() == [[0, 1]]


def test_sixteen_bit_masks_are_refused_by_name(tmp_path):
    path = write(tmp_path / "m.png", np.array([[0, 1]], np.uint16))
    with pytest.raises(ValueError, match=r"m\.png: masks must have 8 bits per channel"):
        MaskReader(CLASSES).read(path)


def test_files_that_are_no_images_are_refused_by_name(tmp_path):
    (tmp_path / "m.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"m\.png: cannot be read as a mask"):
        MaskReader(CLASSES).read(tmp_path / "m.png")


def test_a_value_cannot_stand_for_two_things():
    with pytest.raises(ValueError, match="mask value 1 has two meanings"):
        MaskReader(CLASSES, ignore=(1,))
    with pytest.raises(ValueError, match=r"palette color \(255, 0, 0\) has two meanings"):
        MaskReader(CLASSES, PALETTE, ignore=[(255, 0, 0)])


def test_values_must_name_every_class():
    with pytest.raises(ValueError, match="values names 2 mask values for 3 classes"):
        MaskReader(CLASSES, values=(0, 255))
