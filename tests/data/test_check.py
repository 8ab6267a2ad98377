import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

from kseg import data
from tests.data.folders import Pairs, ids, write, write_pair

CLASSES = ("sky", "road", "car")


@pytest.fixture
def root(tmp_path):
    for stem in ("a", "b", "c"):
        write_pair(tmp_path, stem, ids([0, 1, 2], [2, 1, 255]))
    return tmp_path


def report(root, classes=CLASSES, **options):
    return data.check(data.FolderDataset(root, classes=classes, **options))


def only_problem(root, **options):
    (problem,) = report(root, **options).problems
    return problem


def test_a_sound_folder_is_ok(root):
    found = report(root)
    assert found.ok
    assert found.images == 3
    assert found.pixels == (3, 6, 6)
    assert found.occurrences == (3, 3, 3)
    assert str(found).endswith("ok")


def remove(*names):
    return lambda root: [(root / name).unlink() for name in names]


def add(name, *rows):
    return lambda root: write(root / name, ids(*rows))


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (
            remove("masks/b.png", "masks/c.png"),
            {},
            r"^2 images have no mask of this name in .* \(b\.png, c\.png\)$",
        ),
        (remove("images/b.png"), {}, r"^1 mask in .* has no image \(b\.png\)$"),
        (
            lambda root: (root / "t.txt").write_text("a\ngh\n"),
            {"split": "t"},
            r"^1 name is listed in .*t\.txt but not in .* \(gh\)$",
        ),
        (add("masks/b.png", [0, 1]), {}, r"b\.png: the mask is 1x2 but its image is 2x3"),
        (add("masks/a.png", *[[[255, 0, 0]] * 3] * 2), {}, r"a\.png: this is a color mask and there is no palette"),
        (
            lambda root: (root / "images/a.png").write_text("no image"),
            {},
            r"images.a\.png: not an image that can be read",
        ),
        (lambda root: (root / "masks/c.png").write_text("no mask"), {}, r"masks.c\.png: cannot be read as a mask"),
        (
            add("images/a.jpg", [0, 0, 0], [0, 0, 0]),
            {},
            r'^1 file is not read, because others have the same name \(a\.png\): choose .* image_suffix="\.png"',
        ),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], {}, "^there are no images in"),
    ],
)
def test_one_fault_is_one_problem(root, damage, options, message):
    damage(root)
    assert re.search(message, only_problem(root, **options))


def test_stray_ids_are_counted_with_their_files(root):
    write(root / "masks" / "a.png", ids([7, 7, 7], [0, 0, 9]))
    write(root / "masks" / "c.png", ids([7, 0, 0], [0, 0, 0]))
    assert only_problem(root) == (
        "mask values 7 (4 pixels in 2 masks), 9 (1 pixel in 1 mask) are none of the 3 classes: a.png, c.png; "
        "correct the masks, add a class, or give ignore=[7, 9]"
    )
    assert report(root, ignore=(7, 9)).ok


def test_color_masks_are_noted(root):
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    write(root / "masks" / "a.png", np.array([[[255, 0, 0]] * 3] * 2, np.uint8))
    indexed = Image.new("P", (3, 2))
    indexed.putpalette([0, 0, 0, 9, 9, 9])
    write(root / "masks" / "b.png", indexed)
    found = report(root, palette=palette)
    assert found.ok
    assert "1 mask decoded by the palette, which maps colors to class ids" in found.notes


def test_black_and_white_masks_are_explained(root):
    for stem in ("a", "b", "c"):
        write(root / "masks" / f"{stem}.png", ids([0, 255, 255], [0, 0, 0]))
    assert "if 255 is class 1, give values=[0, 255]; if" in only_problem(root, classes=("background", "cell"))
    problem = only_problem(root, classes=("background", "cell"), ignore=255)  # there would be only one class
    assert problem.endswith("if 255 is a class, give values=[0, 255] and leave 255 out of ignore=")
    assert report(root, classes=("background", "cell"), values=(0, 255)).ok
    write(root / "masks" / "a.png", ids([0, 1, 255], [0, 0, 0]))
    assert report(root, classes=("background", "cell"), ignore=255).ok


def test_gray_levels_of_the_classes_are_found_over_all_masks(root):
    for stem, levels in (("a", [0, 128]), ("b", [0, 255]), ("c", [0, 128])):
        write(root / "masks" / f"{stem}.png", ids(levels * 3).reshape(2, 3))
    classes = ("background", "leaf", "disease")
    assert only_problem(root, classes=classes).endswith("if these are the classes, give values=[0, 128, 255]")
    found = report(root, classes=classes, values=(0, 128, 2))  # what the first mask alone suggests
    assert [note for note in found.notes if "never" in note] == [
        "classes that never occur: disease; 255 does, and is void: if it is this class, give values=[0, 128, 255]"
    ]
    assert report(root, classes=classes, values=(0, 128, 255)).ok


def test_images_of_another_depth_than_the_first_are_noted_as_in_training(root):
    for stem in ("b", "c"):
        Image.fromarray(np.full((2, 3), 50000, np.uint16)).save(root / "images" / f"{stem}.png")
    dataset = data.FolderDataset(root, classes=CLASSES)
    (note,) = (note for note in data.check(dataset).notes if "rounded" in note)
    assert re.match(r"2 images: rounded to 8 bits like the first image: .* \(b\.png, c\.png\)$", note)
    with pytest.warns(UserWarning, match=r"b\.png: rounded to 8 bits like the first image"):
        dataset[1]


def test_files_of_the_same_name_are_named_with_their_folders_and_the_cure_of_each_place(root):
    write_pair(root, "x/a", ids([0, 1]))
    (root / "images" / "x" / "a.png").unlink()
    options = {"images": "images/**", "masks": "masks/**"}
    assert "masks has no image (x/a.png)" in only_problem(root, **options)
    (root / "masks" / "x" / "a.png").unlink()
    for kind in ("images", "masks"):
        for stem in ("a", "b", "c"):
            Image.open(root / kind / f"{stem}.png").save(root / kind / f"{stem}.bmp")
    assert [problem.partition(": ")[2] for problem in report(root).problems] == [
        'choose one type, as image_suffix=".bmp"', 'choose one type, as mask_suffix=".bmp"']  # fmt: skip
    assert report(root, image_suffix=".bmp", mask_suffix=".bmp").ok


def test_masks_saved_as_jpeg_are_explained(root):
    (root / "masks" / "a.png").unlink()
    noise = np.random.default_rng(0).integers(0, 3, (2, 3), np.uint8) * 90
    write(root / "masks" / "a.jpg", noise)
    assert report(root).problems[-1] == "masks saved as JPEG cannot keep class ids, save them as PNG: a.jpg"


def test_classes_that_never_occur_are_noted(root):
    found = report(root, classes=(*CLASSES, "tram"))
    assert found.ok
    assert found.notes == ("16.7 % of the pixels are void", "classes that never occur: tram")


def test_a_kind_of_fault_is_one_line_for_all_files(root):
    """Also faults whose texts contain the name of the file and its numbers."""
    for index in range(9):
        write_pair(root, f"n{index}", ids([0] * (index + 1)))
        write(root / "masks" / f"n{index}.png", ids([0] * (index + 2)))
        for kind in ("images", "masks"):
            (root / kind / f"broken{index}.png").write_text(f"no {kind}")
    size, image, mask = sorted(report(root).problems, key=lambda line: line[0] != "t")
    assert size == "the mask is 1x2 but its image is 1x1 (9 files: n0.png, n1.png, n2.png and 6 more)"
    assert re.match(r"not an image that can be read \(9 files: broken0\.png, broken1\.png", image)
    assert re.match(r"cannot be read as a mask .*\(9 files: broken0\.png, broken1\.png", mask)


@pytest.mark.parametrize("values", [[0, 1, 254], [1, 2, 3], [0, 128, 65535]])
def test_values_that_are_as_many_as_the_classes_are_proposed_for_them(values, root):
    for name in "abc":
        write(root / "masks" / f"{name}.png", np.array(values, "uint16")[ids([0, 1, 2], [0, 0, 0])])
    assert only_problem(root).endswith(f"; if these are the classes, give values={values}")
    assert report(root, values=values).ok


def test_many_stray_values_are_one_line(root):
    write(root / "masks" / "a.png", ids([10, 20, 30], [40, 50, 60]))
    problem = only_problem(root)
    assert "50 (1 pixel in 1 mask) and 1 more are none of the 3 classes: a.png" in problem
    assert problem.endswith("or see whether they need values= or palette=")


@pytest.mark.parametrize(
    ("interface", "cure"),
    [("python", "ignore=[7, 9]"), ("recipe", "ignore = [7, 9] in [data]"), ("command", "--ignore 7,9")],
)
def test_the_cure_is_named_as_the_user_gives_it(root, interface, cure):
    write(root / "masks" / "a.png", ids([7, 9, 0], [0, 0, 0]))
    assert only_problem(root, interface=interface).endswith(f"or give {cure}")
    with pytest.raises(FileNotFoundError) as caught:
        report(root, masks="labels", interface=interface)
    option = {"python": "masks=;", "recipe": "masks in [data];", "command": "--masks;"}[interface]
    assert f"give {option}" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (np.array([[0, 300]], "int32"), "mask values 300 (1 pixel in 1 mask) are none of the 2 classes"),
        (np.array([[0, -1]], "int32"), "mask values -1 (1 pixel in 1 mask) are none of the 2 classes"),
        (np.array([[-1, -1]], "int8"), "mask values -1 (2 pixels in 1 mask) are none of the 2 classes"),
        (np.array([[0, 0.5]], "float32"), "mask values 0.5 (1 pixel in 1 mask) are none of the 2 classes"),
        (np.zeros((1, 2, 1), "uint8"), "000000: the label is (1, 2, 1) but the image is (1, 2)"),
    ],
)
def test_labels_of_any_type_are_reported(label, problem):
    found = data.check(Pairs([(np.zeros((1, 2, 3), np.uint8), label)], ("a", "b"))).problems
    assert any(line.startswith(problem) for line in found), found


def test_an_error_of_a_data_set_of_ones_own_is_a_problem():
    class Broken(Pairs):
        def read(self, index):
            return {}["no such key"]

    assert data.check(Broken([None])).problems == ("000000: KeyError: 'no such key'",)


def test_any_data_set_can_be_checked():
    pairs = [(np.zeros((4, 4, 3), np.uint8), np.full((4, 4 + index), 5, np.uint8)) for index in range(2)]
    stray, size = sorted(data.check(Pairs(pairs)).problems, reverse=True)[::-1]
    assert stray == "000001: the label is (4, 5) but the image is (4, 4)"
    assert size.startswith("mask values 5 (36 pixels in 2 masks) are none of the 3 classes")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    for kind in ("images", "masks"):
        write(tmp_path / kind / os.fsdecode(b"caf\xe9.png"), ids([0, 1]))
        (tmp_path / kind / os.fsdecode(b"th\xe9.png")).write_bytes(b"broken")
    write(tmp_path / "images" / os.fsdecode(b"g\xe2teau.png"), ids([0, 1]))
    found = report(tmp_path)
    assert found.pixels == (1, 1, 0)
    assert len(found.problems) == 3 and "th?.png" in str(found).encode("utf-8").decode()


def test_images_of_a_data_set_of_ones_own_have_one_number_of_channels():
    pairs = Pairs([(np.full((2, 2, count), 9, "uint8"), ids([0, 1], [2, 0])) for count in (3, 3, 1)])
    message = "the image has 1 channels, an earlier one 3"
    assert re.search(message, data.check(pairs).problems[0])
    with pytest.raises(ValueError, match=rf"pairs 000002: {message}"):
        [pairs[index] for index in range(3)]
