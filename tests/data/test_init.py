"""Recipes drafted from folders in the layouts in which people have their data."""

import json
import re
import tomllib

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg import data, training
from tests.data import folders
from tests.data.test_annotations import coco, ring

SIZE = (48, 64)
RNG = np.random.default_rng(0)
BLOB = np.zeros(SIZE, bool)
BLOB[10:30, 20:50] = True
WHITE = BLOB * np.uint8(255)
CLASSES = np.where(BLOB, 2, 0).astype("uint8")
CLASSES[35:, :20] = 1


def photo(path, size=SIZE):
    folders.write(path, RNG.integers(0, 256, (*size, 3), np.uint8))


def drafted(root):
    """Returns the tables of the recipe and the training pairs that it opens, all of which are read."""
    found = data.draft(root)
    content = tomllib.loads(found.recipe)
    recipe = training.Recipe.from_dict(content)
    splits = [training.dataset(recipe, split, None) for split in ("train", "val")]
    for dataset in splits:
        assert len(dataset)
        for index in range(len(dataset)):
            dataset.read(index)
    return content, splits[0], found


def numbered(root, image, mask, pixels=WHITE, count=6):
    """Writes photos and masks under names with `{}` for their number."""
    for number in range(count):
        photo(root / image.format(number))
        folders.write(root / mask.format(number), pixels)


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ("images/{:03}.jpg", "masks/{:03}.png", {"images": "images", "masks": "masks"}),
        ("{:03}.jpg", "{:03}_mask.png", {"images": ".", "masks": ".", "mask_suffix": "_mask"}),
        ("a/img_{}.png", "a/label_{}.png", {"images": "a/img_{stem}", "masks": "a/label_{stem}"}),
        ("x/{}.jpg", "x/{}.png", {"images": "x/{stem}.jpg", "masks": "x/{stem}.png"}),
        ("imgs/{}_sat.jpg", "gt/{}_mask.png", {
            "images": "imgs", "masks": "gt", "image_suffix": "_sat", "mask_suffix": "_mask"}),
        ("case{}/image.png", "case{}/mask.png", {"images": "{stem}/image.png", "masks": "{stem}/mask.png"}),
        ("mri/P{0}/P{0}_1.tif", "mri/P{0}/P{0}_1_mask.tif", {"images": "mri", "masks": "mri", "mask_suffix": "_mask"}),
        ("Tile {}/images/a.jpg", "Tile {}/masks/a.png", {"images": "{folder}/images", "masks": "{folder}/masks"}),
        ("imagesTr/case_{:03}_0000.png", "labelsTr/case_{:03}.png", {
            "images": "imagesTr", "masks": "labelsTr", "image_suffix": "_0000"}),
        ("train/{}.jpg", "train_masks/{}_mask.gif", {
            "images": "train", "masks": "train_masks", "mask_suffix": "_mask"}),
    ],
)  # fmt: skip
def test_black_and_white_masks_pair_in_many_layouts(image, mask, expected, tmp_path):
    numbered(tmp_path, image, mask)
    content, train, found = drafted(tmp_path)
    section = content["data"]
    keys = ("images", "masks", "image_suffix", "mask_suffix")
    assert {key: section[key] for key in keys if key in section} == expected
    assert section["values"] == [0, 255] and section["classes"] == ["background", "foreground"]
    assert section["split"] == "80/20"
    assert np.unique(train[0][1]).tolist() == [0, 1] and (train[0][1] == BLOB).all()
    assert section["crop"] == [32, 32] and section["batch_size"] <= len(train)
    assert not found.problems
    assert "foreground 20 %" in str(found.findings)  # 20 x 30 of 48 x 64 pixels


@pytest.mark.parametrize(
    ("layout", "counts"),
    [
        ("{split}/images/{n}.png {split}/masks/{n}.png", "train 4, val 4, test 4"),
        ("Data/{Split}/Images/{n}.png Data/{Split}/Masks/{n}.png", "train 4, val 4, test 4"),
        ("images/{split}/{n}.png labels/{split}/{n}.png", "train 4, val 4, test 4"),
        ("{split}/{n}.png {split}annot/{n}.png", "train 4, val 4, test 4"),
        ("leftImg8bit/{split}/aachen/a_{n}_leftImg8bit.png gtFine/{split}/aachen/a_{n}_gtFine_labelIds.png", None),
        ("{split}/images/{n}_{split}.png {split}/1st_manual/{n}_manual1.png", None),
    ],
)
def test_folders_of_splits(layout, counts, tmp_path):
    for split in ("train", "val", "test"):
        layout_of_split = layout.replace("{split}", split).replace("{Split}", split.title())
        image, mask = layout_of_split.replace("{n}", "{}").split()
        numbered(tmp_path, image, mask, CLASSES, count=4)
    if "gtFine" in layout:
        for path in list(tmp_path.rglob("*_labelIds.png")):
            folders.write(path.with_name(path.name.replace("labelIds", "instanceIds")), CLASSES)
    if "manual" in layout:  # the field of view, as in DRIVE
        for path in list(tmp_path.rglob("images/*.png")):
            folders.write(path.parents[1] / "mask" / f"{path.stem}_mask.png", BLOB * np.uint8(255))
    content, train, found = drafted(tmp_path)
    assert "split" not in content["data"] and "{split}" in content["data"]["images"] + content["data"]["masks"]
    assert (train[0][1] == CLASSES).all()
    assert "splits: train 4, val 4, test 4" in found.findings
    assert "instance" not in str(content) and content["data"]["masks"] != "{split}/mask"


def test_files_of_classes_that_cannot_be_read_are_problems(tmp_path):
    numbered(tmp_path, "images/{}.png", "masks/{}.png")
    for content, fault in (
        ("sol\nfeuille m\xeal\xe9e\n".encode("latin-1"), r"classes\.txt is not a text in UTF-8 or UTF-16 \(line 2\)"),
        (b"soil\nsoil\n", r"classes\.txt names 'soil' more than once: correct it"),
    ):
        (tmp_path / "classes.txt").write_bytes(content)
        (problem,) = data.draft(tmp_path).problems
        assert re.search(fault, problem)
    (tmp_path / "class_dict.csv").write_text("name;value\nsoil;0\nleaf;255\n")
    found = data.draft(tmp_path)
    assert not found.problems and 'classes = ["soil", "leaf"]' in found.recipe


def test_masks_with_two_values_of_one_foreground_are_a_problem(tmp_path):
    for first, pixels in ((0, WHITE), (3, BLOB.astype("uint8"))):
        for number in range(first, first + 3):
            photo(tmp_path / "images" / f"{number}.png")
            folders.write(tmp_path / "masks" / f"{number}.png", pixels)
    found = data.draft(tmp_path)
    assert "3 masks hold 255, others 1, and none holds both" in found.problems[0]
    assert "ignore" not in found.recipe  # so that training refuses these masks
    border = BLOB.astype("uint8")
    border[0] = 255
    for number in range(3):
        folders.write(tmp_path / "masks" / f"{number}.png", border)
    found = data.draft(tmp_path)
    assert not found.problems and "ignore = [255]" in found.recipe


def test_lists_of_splits_and_the_palette_of_voc(tmp_path):
    names = [f"2007_00003{number}" for number in range(4)]
    colors = np.array([*data.voc.__globals__["VOC_PALETTE"]], "uint8")
    label = np.where(CLASSES == 1, 255, CLASSES * 6)
    for name in names:
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        for folder in ("SegmentationClass", "SegmentationObject"):
            mask = Image.fromarray(label.astype("uint8"), "P")
            mask.putpalette(np.concatenate([colors, np.full((235, 3), (224, 224, 192), "uint8")]).tobytes())
            folders.write(tmp_path / folder / f"{name}.png", mask)
    photo(tmp_path / "JPEGImages" / "2007_999999.jpg")
    for split, chosen in (("train", names[:3]), ("val", names[3:])):
        folder = tmp_path / "ImageSets" / "Segmentation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.txt").write_text("\n".join(chosen))
    content, train, found = drafted(tmp_path)
    assert content["data"]["masks"] == "SegmentationClass"
    assert content["data"]["classes"][12] == "dog" and content["data"]["ignore"] == [255]
    assert (train[0][1] == label).all()
    assert "splits: train 3, val 1" in found.findings
    assert any(line.startswith("classes that no pixel has: aeroplane, bicycle") for line in found.findings)


def test_a_folder_for_training_alone_is_divided(tmp_path):
    numbered(tmp_path, "train/images/{}.png", "train/masks/{}.png", CLASSES)
    for number in range(3):
        photo(tmp_path / "test" / "images" / f"{number}.png")
    content, train, _ = drafted(tmp_path)
    assert content["data"]["images"] == "train/images" and content["data"]["split"] == "80/20"
    assert len(train) == 5


@pytest.mark.parametrize("count", [24, 40])
def test_numbers_in_names_are_those_of_images(count, tmp_path):
    """Under 2007_00000x and 2007_00001x, more files pair than there are images."""
    numbered(tmp_path, "photos/2007_{:06}.jpg", "labels/2007_{:06}.png", CLASSES, count=count)
    numbered(tmp_path, "photos/2007_{:06}.jpg", "labels_vis/2007_{:06}.png", CLASSES, count=count)
    section = drafted(tmp_path)[0]["data"]
    assert (section["images"], section["masks"]) == ("photos", "labels") and "mask_suffix" not in section


def test_folders_of_splits_inside_folders_and_what_is_not_used(tmp_path):
    for site in ("north", "south"):
        for split in ("train", "valid"):
            numbered(tmp_path, f"{split}/{site}/photos/{{}}.jpg", f"{split}/{site}/labels/{{}}.png", CLASSES, count=2)
    photo(tmp_path / "overlays" / "1.png")
    content, train, found = drafted(tmp_path)
    assert content["data"]["images"] == "{split}/{folder}/photos" and len(train) == 4
    assert "not used: 1 image in overlays" in found.findings


def test_the_classes_of_camvid_are_known(tmp_path):
    label = np.arange(12, dtype="uint8").repeat(256).reshape(SIZE)
    for split, number in (("train", "006690"), ("val", "006720")):
        photo(tmp_path / split / f"0001TP_{number}.png")
        folders.write(tmp_path / f"{split}annot" / f"0001TP_{number}.png", label)
        (tmp_path / f"{split}.txt").write_text(f"/SegNet/{split}/0001TP_{number}.png /SegNet/{split}annot/x.png")
    content, train, _ = drafted(tmp_path)
    assert tuple(content["data"]["classes"]) == data.camvid.__globals__["CLASSES"]
    assert content["data"]["ignore"] == [11] and content["data"]["augment"] == "street"
    assert np.unique(train[0][1]).tolist() == [*range(11), 255]


def test_masks_of_colors_with_and_without_a_table(tmp_path):
    colors = np.array([(0, 0, 0), (0, 128, 0), (200, 10, 10)], "uint8")
    numbered(tmp_path, "images/{}.png", "masks/{}.png", colors[CLASSES])
    content, train, found = drafted(tmp_path)
    assert content["data"]["classes"] == ["background", "firebrick", "green"]
    assert "remove its name and color, and add ignore = [[0, 0, 0]]" in found.recipe.replace("\n# ", " ")
    assert content["data"]["palette"] == [[0, 0, 0], [200, 10, 10], [0, 128, 0]]
    assert (train[0][1] == np.array([0, 2, 1])[CLASSES]).all()
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nplant, 0,128,0\nsoil,200,10,10\nvoid,0,0,0\n")
    content, train, _ = drafted(tmp_path)
    assert content["data"]["classes"] == ["plant", "soil"] and content["data"]["ignore"] == [[0, 0, 0]]
    assert (train[0][1] == np.array([255, 0, 1])[CLASSES]).all()


def test_names_are_read_from_files_beside_the_masks(tmp_path):
    numbered(tmp_path, "train/{}.jpg", "train/{}_mask.png", CLASSES)
    (tmp_path / "train" / "_classes.csv").write_text("Pixel Value, Class\n0, soil\n1, leaf\n2, stem\n")
    assert drafted(tmp_path)[0]["data"]["classes"] == ["soil", "leaf", "stem"]
    (tmp_path / "train" / "_classes.csv").unlink()
    (tmp_path / "classes.txt").write_text("leaf\nstem\n")
    assert drafted(tmp_path)[0]["data"]["classes"] == ["background", "leaf", "stem"]
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "tumor": 2}}))
    assert drafted(tmp_path)[0]["data"]["classes"] == ["background", "liver", "tumor"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 1, 255), {"ignore": [255]}),
        ((0, 127, 255), {"values": [0, 127, 255]}),
        ((0, 1, 2), {}),
        ((1, 2, 3), {"values": [1, 2, 3]}),
        ((0, 40, 90), {"values": [0, 40, 90]}),
    ],
)
def test_values_of_masks_become_classes_or_void(values, expected, tmp_path):
    numbered(tmp_path, "images/{}.png", "masks/{}.png", np.array(values, "uint8")[CLASSES])
    content, train, _ = drafted(tmp_path)
    assert {key: content["data"][key] for key in ("values", "ignore") if key in content["data"]} == expected
    ids = [0, 1, 255] if "ignore" in expected else [0, 1, 2]
    assert (train[0][1] == np.array(ids)[CLASSES]).all()


def test_a_16_bit_camera_of_12_bits_gets_its_range_and_no_jitter_for_streets(tmp_path):
    for number in range(6):
        picture = RNG.integers(0, 4096, SIZE).astype("uint16")
        (tmp_path / "images").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", picture)
        folders.write(tmp_path / "masks" / f"{number}_mask.tif", BLOB.astype("uint16") * 65535)
    content, train, _ = drafted(tmp_path)
    assert content["data"]["range"] == [0, 4095] and content["data"]["augment"] == "microscope"
    assert content["data"]["values"] == [0, 65535]
    assert train[0][0].max() == pytest.approx(255, abs=0.2)


def test_five_bands_and_floats(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(4):
        tifffile.imwrite(
            tmp_path / "images" / f"{number}.tif",
            RNG.random((*SIZE, 5), np.float32),
            photometric="minisblack",
            planarconfig="contig",
        )
        folders.write(tmp_path / "masks" / f"{number}.png", CLASSES)
    content, train, _ = drafted(tmp_path)
    assert content["data"]["bands"] == [1, 2, 3, 4, 5] and content["data"]["range"] == [0, 1]
    assert train[0][0].shape == (*SIZE, 5) and 250 < train[0][0].max() <= 255


def test_photos_with_an_up_and_a_down_are_not_turned(tmp_path):
    sky = np.zeros(SIZE, "uint8")
    sky[24:] = 1
    numbered(tmp_path, "images/{}.png", "masks/{}.png", sky)
    assert drafted(tmp_path)[0]["data"]["augment"] == "street"


@pytest.mark.parametrize(
    ("folder", "gray", "augment"), [("cells", False, "microscope"), ("a", True, "microscope"), ("a", False, "street")]
)
def test_jpeg_images_of_instruments_get_no_jitter_for_streets(folder, gray, augment, tmp_path):
    numbered(tmp_path / folder, "images/{}.jpg", "masks/{}.png", WHITE * (np.indices(SIZE)[0] % 2).astype("uint8"))
    if gray:
        for path in (tmp_path / folder / "images").iterdir():
            Image.open(path).convert("L").save(path)
    content, _, found = drafted(tmp_path / folder)
    assert content["data"]["augment"] == augment and "selection" not in content
    assert all(len(line) <= 100 for line in found.recipe.splitlines() if line.startswith("#"))


def test_validation_that_takes_long_is_not_done_after_each_epoch(tmp_path):
    for split, count in (("train", 2), ("val", 12)):
        numbered(tmp_path, f"images/{split}/{{}}.png", f"masks/{split}/{{}}.png", CLASSES, count=count)
    assert drafted(tmp_path)[0]["selection"] == {"every": 24}


def test_rare_classes_get_a_loss_that_weights_them(tmp_path):
    label = np.zeros(SIZE, "uint8")
    label[:3, :3], label[20:, :] = 2, 1
    numbered(tmp_path, "images/{}.png", "masks/{}.png", label)
    assert drafted(tmp_path)[0]["loss"]["class_weights"] == "median"


def test_coco_in_one_file_and_one_for_each_split(tmp_path):
    names = [f"{number}.jpg" for number in range(6)]
    content = coco(images=names)
    content["annotations"] = [
        {"id": number, "image_id": 10 + number, "category_id": 3, "segmentation": [ring(5, 5, 25, 20)]}
        for number in range(6)
    ]
    for name in names:
        photo(tmp_path / "one" / "images" / name, (40, 60))
        for split in ("train", "val"):
            photo(tmp_path / "official" / f"{split}2017" / name, (40, 60))
    (tmp_path / "one" / "instances.json").write_text(json.dumps(content))
    recipe, train, found = drafted(tmp_path / "one")
    assert recipe["data"]["annotations"] == "instances.json" and recipe["data"]["split"] == "80/20"
    assert recipe["data"]["classes"] == ["background", "leaf", "stem"]
    assert train[0][1].sum() == 20 * 15
    (tmp_path / "official" / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / "official" / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
        (tmp_path / "official" / "annotations" / f"captions_{split}2017.json").write_text("{}")
    recipe, train, found = drafted(tmp_path / "official")
    assert recipe["data"]["annotations"] == "annotations/instances_{split}2017.json"
    assert recipe["data"]["images"] == "{split}2017" and len(train) == 6
    assert "splits: train 6, val 6" in found.findings


def test_labels_of_yolo_and_labelme(tmp_path):
    for split in ("train", "val"):
        for number in range(4):
            photo(tmp_path / "yolo" / "images" / split / f"{number}.jpg", (40, 60))
            label = tmp_path / "yolo" / "labels" / split / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0 0 0.5 0 0.5 0.5 0 0.5\n")
            photo(tmp_path / "labelme" / f"{number}.jpg", (40, 60))
            shape = {"label": "leaf", "points": [[0, 0], [30, 0], [30, 20], [0, 20]], "shape_type": "polygon"}
            (tmp_path / "labelme" / f"{number}.json").write_text(
                json.dumps({"imagePath": f"{number}.jpg", "imageHeight": 40, "imageWidth": 60, "shapes": [shape]})
            )
    (tmp_path / "yolo" / "data.yaml").write_text("names:\n  0: leaf\n")
    for kind, count in (("yolo", 4), ("labelme", 3)):
        recipe, train, _ = drafted(tmp_path / kind)
        assert recipe["data"]["classes"] == ["background", "leaf"]
        assert len(train) == count and train[0][1].sum() == 30 * 20


def test_boxes_alone_are_said_to_be_no_labels(tmp_path):
    for number in range(3):
        photo(tmp_path / "images" / f"{number}.jpg")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2")
    with pytest.raises(
        ValueError, match=r"labels has no object with an area; left out: boxes without an outline \(3\)"
    ):
        data.draft(tmp_path)


def test_what_no_recipe_can_read_is_refused_with_the_cure(tmp_path):
    for number in range(4):
        photo(tmp_path / "alone" / f"{number}.jpg")
        photo(tmp_path / "cells" / "images" / f"{number}.png")
        cells = np.kron(np.arange(12 * (number + 6)).reshape(-1, 12), np.ones((4, 4))).astype("uint16")[:48, :48]
        folders.write(tmp_path / "cells" / "masks" / f"{number}.png", np.pad(cells, ((0, 48 - len(cells)), (0, 16))))
        photo(tmp_path / "lossy" / "images" / f"{number}.png")
        folders.write(tmp_path / "lossy" / "masks" / f"{number}.jpg", BLOB * np.uint8(255) - CLASSES * 30)
        photo(tmp_path / "empty" / "images" / f"{number}.png")
        folders.write(tmp_path / "empty" / "masks" / f"{number}.png", np.zeros(SIZE, "uint8"))
    (tmp_path / "none").mkdir()
    for folder, error, message in (
        ("no", FileNotFoundError, "there is no folder"),
        ("none", FileNotFoundError, "holds no images: it has no files"),
        ("alone", ValueError, r"found no masks .* \(4 images in \.\).* x_mask.png"),
        ("cells", ValueError, "numbers of single objects"),
        ("lossy", ValueError, "saved as JPEG"),
        ("empty", ValueError, "all masks hold the value 0 alone"),
    ):
        with pytest.raises(error, match=message) as caught:
            data.draft(tmp_path / folder)
        assert "\n" not in str(caught.value)


def test_images_without_labels_are_left_out_of_shares_and_said(tmp_path):
    numbered(tmp_path, "images/{}.png", "masks/{}.png", CLASSES)
    photo(tmp_path / "images" / "bare.png")
    folders.write(tmp_path / "masks" / "0.png", CLASSES[:40])
    found = data.draft(tmp_path)
    assert found.problems == ("1 mask has another size than the image: 0.png",)
    assert "left out: 1 image that has no mask (bare.png)" in found.findings


def test_damaged_files_are_one_line_for_each_kind(tmp_path):
    numbered(tmp_path, "images/{}.png", "masks/{}.png", CLASSES, count=12)
    for number in range(8):
        (tmp_path / "images" / f"{number}.png").write_text("damaged")
    (tmp_path / "masks" / "9.png").write_text("damaged")
    image, mask = sorted(data.draft(tmp_path).problems, key=lambda line: "8 files" not in line)
    assert image == "not an image that can be read (8 files: 0.png, 1.png, 2.png and 5 more)"
    assert mask.startswith(str(tmp_path / "masks" / "9.png"))


def test_damaged_images_of_annotations_are_reported(tmp_path):
    names = [f"{number}.jpg" for number in range(6)]
    content = coco(images=names)
    content["annotations"] = [
        {"id": number, "image_id": 10 + number, "category_id": 3, "segmentation": [ring(5, 5, 25, 20)]}
        for number in range(6)
    ]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    for name in names:
        photo(tmp_path / "images" / name, (40, 60) if name != "1.jpg" else (30, 60))
    (tmp_path / "images" / "0.jpg").write_text("damaged")
    found = data.draft(tmp_path)
    size, damaged = found.problems
    assert "1.jpg: the image is 30x60, but was 40x60" in size and "0.jpg: not an image that can be read" in damaged
    assert "leaf 12 %" in str(found.findings)


def test_files_that_pair_under_several_names_are_noted_once(tmp_path):
    numbered(tmp_path, "photos/a_{}_leftImg8bit.png", "gt/a_{}_gtFine_labelIds.png", CLASSES)
    numbered(tmp_path, "photos/a_{}_leftImg8bit.png", "gt/a_{}_gtFine_instanceIds.png", CLASSES)
    (note,) = [line for line in data.draft(tmp_path).findings if "could be masks too" in line]
    assert "instanceIds" in note


def test_palette_images_of_gray_levels_are_read_by_their_brightness(tmp_path):
    numbered(tmp_path, "images/{}.png", "masks/{}.png")
    for path in (tmp_path / "masks").iterdir():
        mask = Image.fromarray((~BLOB).astype("uint8"), "P")  # index 0 is white
        mask.putpalette([255, 255, 255, 0, 0, 0])
        mask.save(path)
    content, train, _ = drafted(tmp_path)
    assert content["data"]["values"] == [0, 255] and (train[0][1] == BLOB).all()


def test_many_classes_are_no_single_objects(tmp_path):
    for number in range(6):
        photo(tmp_path / "images" / f"{number}.png")
        folders.write(tmp_path / "masks" / f"{number}.png", RNG.choice(np.arange(0, 150, 3), SIZE).astype("uint8"))
    content, _, _ = drafted(tmp_path)
    assert len(content["data"]["classes"]) == len(content["data"]["values"]) == 50
