"""Public data sets in their official layouts, on pieces of them that the tests write."""

import numpy as np
import pytest
from PIL import Image

from kseg import data
from tests.data import folders

IDS = np.arange(24, dtype="uint8").reshape(4, 6)


def photo(path, mask=IDS):
    folders.write(path, np.zeros((*mask.shape, 3), "uint8"))


def indexed(path, ids, palette):
    image = Image.fromarray(ids, "P")
    image.putpalette(palette)
    folders.write(path, image)


def voc_colors():
    """The palette of VOC's files by the rule of its development kit: bits of the index, from the top down."""
    indices = np.arange(256)[:, None]
    return sum((indices >> 3 * bit + np.arange(3) & 1) << 7 - bit for bit in range(3)).astype("uint8")


def test_pets_have_two_classes_and_an_ignored_border(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    trimap = np.array([[1, 2, 3], [2, 2, 1]], "uint8")
    names = [f"Abyssinian_{number}" for number in range(20)]
    for name in names:
        photo(root / "images" / f"{name}.jpg", trimap)
        folders.write(root / "annotations" / "trimaps" / f"{name}.png", trimap)
        (root / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"of macOS")
    (root / "images" / "Abyssinian_100.mat").write_bytes(b"of MATLAB")
    (root / "annotations" / "trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in names[:19]))
    (root / "annotations" / "test.txt").write_text(f"{names[19]} 1 1 1\n")
    train, val, test = (data.load("pets", split, root=tmp_path) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [18, 1, 1]
    assert (val.identifier(0), test.identifier(0)) == (names[9], names[19])
    assert train[0][1].tolist() == [[1, 0, 255], [0, 0, 1]]
    assert (train.classes, train.num_classes, train.ignore_class) == (("background", "pet"), 1, 255)


@pytest.mark.parametrize("place", ["VOC2012", "VOCdevkit/VOC2012", "."])
def test_voc_has_its_palette_and_255_as_void(tmp_path, place):
    root, colors = tmp_path / place, voc_colors()
    ids = IDS.clip(0, 20)
    ids[0, :2] = 255
    indexed(root / "SegmentationClass" / "2007_000032.png", ids, colors.tobytes())
    photo(root / "JPEGImages" / "2007_000032.jpg")
    photo(root / "JPEGImages" / "without_segmentation.jpg")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_000032\n")
    dataset = data.load("voc", "train", root=tmp_path)
    assert len(dataset) == 1 and (dataset[0][1] == ids).all()
    assert [list(color) for color in dataset.palette] == colors[:21].tolist()
    with pytest.raises(FileNotFoundError, match="voc: there is no list of test"):
        data.load("voc", "test", root=tmp_path)


def test_voc_with_only_void_borders_in_some_mask_is_read(tmp_path):
    indexed(tmp_path / "SegmentationClass" / "a.png", np.array([[0, 255]], "uint8"), voc_colors().tobytes())
    photo(tmp_path / "JPEGImages" / "a.jpg", np.zeros((1, 2)))
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    assert data.voc("val", root=tmp_path)[0][1].tolist() == [[0, 255]]


def test_ade20k_moves_150_classes_down_by_one(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    ids = np.array([[0, 1, 2], [150, 13, 84]], "uint8")
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        photo(root / "images" / split / f"{name}.jpg", ids)
        folders.write(root / "annotations" / split / f"{name}.png", ids)
    train, val = (data.load("ade20k", split, root=tmp_path) for split in ("train", "val"))
    assert (train.identifier(0), val.identifier(0)) == ("ADE_train_00000001", "ADE_val_00000001")
    assert train[0][1].tolist() == [[255, 0, 1], [149, 12, 83]]
    assert len(train.classes) == 150
    assert [train.classes[index] for index in (0, 12, 83, 149)] == ["wall", "person", "truck", "flag"]


def test_cityscapes_maps_its_ids_to_19_classes(tmp_path):
    ids = np.array([[0, 7, 8, 11], [33, 26, 19, 5]], "uint8")
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        name = f"{city}_000000_000019"
        photo(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", ids)
        folder = tmp_path / "gtFine" / split / city
        folders.write(folder / f"{name}_gtFine_labelIds.png", ids)
        folders.write(folder / f"{name}_gtFine_instanceIds.png", ids.astype("uint16") * 1000)
        folders.write(folder / f"{name}_gtFine_color.png", np.zeros((*ids.shape, 3), "uint8"))
        (folder / f"{name}_gtFine_polygons.json").write_text("{}")
    train = data.load("cityscapes", "train", root=tmp_path)
    assert [len(train), len(data.load("cityscapes", "val", root=tmp_path))] == [2, 1]
    assert train[0][1].tolist() == [[255, 0, 1, 2], [18, 13, 6, 255]]
    assert [train.classes[index] for index in (0, 13, 18)] == ["road", "car", "bicycle"]


@pytest.mark.parametrize("name", ["pets", "voc", "ade20k", "cityscapes"])
def test_errors_name_the_missing_folder_and_the_labels_that_are_not_public(name, tmp_path, monkeypatch):
    for variable in ("KSEG_DATA", "KSEG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    for root in (tmp_path, None):
        with pytest.raises(FileNotFoundError, match=rf"{name}: no folder with .* set KSEG_DATA \(or root=\)"):
            data.load(name, "train", root=root)
    if name in ("ade20k", "cityscapes"):
        with pytest.raises(ValueError, match="test split are not public"):
            data.load(name, "test", root=tmp_path)
