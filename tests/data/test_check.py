import re

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
        (remove("masks/b.png", "masks/c.png"), {}, r"^2 without a mask of the same name.*b\.png, c\.png$"),
        (remove("images/b.png"), {}, r"without an image: b\.png$"),
        (lambda root: (root / "t.txt").write_text("a\ngh\n"), {"split": "t"}, r"listed in t\.txt but not in .*gh$"),
        (add("masks/b.png", [0, 1]), {}, r"b\.png: the mask is \(1, 2\) but its image b\.png is \(2, 3\)"),
        (add("masks/a.png", *[[[255, 0, 0]] * 3] * 2), {}, r"a\.png: this is a color mask and there is no palette"),
        (lambda root: (root / "images/a.png").write_text("no image"), {}, r"images.a\.png: cannot be read as an image"),
        (lambda root: (root / "masks/c.png").write_text("no mask"), {}, r"masks.c\.png: cannot be read as a mask"),
        (add("images/a.jpg", [0, 0, 0], [0, 0, 0]), {}, r"with the same name as a file of another type: a\.png"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], {}, "^there are no images in"),
    ],
)
def test_one_fault_is_one_problem(root, damage, options, message):
    damage(root)
    assert re.search(message, only_problem(root, **options))


def test_stray_ids_are_counted_with_their_files(root):
    write(root / "masks" / "a.png", ids([7, 7, 7], [0, 0, 9]))
    write(root / "masks" / "c.png", ids([7, 0, 0], [0, 0, 0]))
    seven, nine = report(root).problems
    assert seven.startswith("mask value 7 is none of the 3 classes: 4 pixels in 2 masks (a.png, c.png)")
    assert nine.startswith("mask value 9 is none of the 3 classes: 1 pixels in 1 masks (a.png)")
    assert report(root, ignore=(7, 9)).ok


def test_color_and_palette_masks_are_noted(root):
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    write(root / "masks" / "a.png", np.array([[[255, 0, 0]] * 3] * 2, np.uint8))
    indexed = Image.new("P", (3, 2))
    indexed.putpalette([0, 0, 0, 9, 9, 9])
    write(root / "masks" / "b.png", indexed)
    found = report(root, palette=palette)
    assert found.ok
    assert any(note.startswith("1 masks are RGB") for note in found.notes)
    assert any(note.startswith("1 masks are palette PNGs") for note in found.notes)


def test_black_and_white_masks_are_explained(root):
    for stem in ("a", "b", "c"):
        write(root / "masks" / f"{stem}.png", ids([0, 255, 255], [0, 0, 0]))
    assert "for black-and-white masks set values = [0, 255]" in only_problem(root, classes=("background", "cell"))
    assert not report(root, classes=("background", "cell"), ignore=255).ok  # there would be only one class
    assert report(root, classes=("background", "cell"), values=(0, 255)).ok
    write(root / "masks" / "a.png", ids([0, 1, 255], [0, 0, 0]))
    assert report(root, classes=("background", "cell"), ignore=255).ok


def test_masks_saved_as_jpeg_are_explained(root):
    (root / "masks" / "a.png").unlink()
    noise = np.random.default_rng(0).integers(0, 3, (2, 3), np.uint8) * 90
    write(root / "masks" / "a.jpg", noise)
    assert report(root).problems[-1] == "masks saved as JPEG cannot keep class ids, save them as PNG: a.jpg"


def test_classes_that_never_occur_are_noted(root):
    found = report(root, classes=(*CLASSES, "tram"))
    assert found.ok
    assert found.notes == ("classes that never occur: tram",)


def test_any_data_set_can_be_checked():
    pairs = [(np.zeros((4, 4, 3), np.uint8), np.full((4, 4 + index), 5, np.uint8)) for index in range(2)]
    stray, size = sorted(data.check(Pairs(pairs)).problems, reverse=True)[::-1]
    assert stray == "000001: the label is (4, 5) but the image is (4, 4)"
    assert size.startswith("mask value 5 is none of the 3 classes: 36 pixels in 2 masks")
