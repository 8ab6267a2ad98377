"""Which files are read, paired and divided into splits."""

import json
import re
import unicodedata

import pytest

from kseg import data
from tests.data.folders import ids, write

CLASSES = ("background", "cell")


def put(root, *files):
    """Writes images and masks; the name of a mask contains "mask", "label" or "manual", or its image is a JPEG."""
    photos = any(file.lower().endswith(".jpg") for file in files)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.lower().endswith((".png", ".jpg", ".tif", ".gif", ".ppm", ".pgm", ".bmp", ".jp2")):
            words = "mask", "label", "manual", *[".png"] * photos
            is_mask = any(word in file.lower() for word in words)
            write(root / file, ids([0, 1], [1, 0]) if is_mask else ids([0, 200], [200, 0]))
        else:
            (root / file).write_text("no picture")


def names(root, split=None, **options):
    """The pairs of a split: the names of image and mask, relative to the folder."""
    dataset = data.FolderDataset(root, split, classes=CLASSES, **options)
    masks = [dataset.mask_of[image] for image in dataset.images]
    return [
        tuple(None if file is None else file.relative_to(root).as_posix() for file in pair)
        for pair in zip(dataset.images, masks, strict=True)
    ]


def cured(text, options):
    """Returns options as a message wants them: it ends in `give name="value" and ...`, perhaps `leave out name=`."""
    proposed = text[text.rindex("give ") :]
    dropped = re.findall(r"(\w+)=(?:,|$)", proposed)
    return {name: value for name, value in options.items() if name not in dropped} | dict(
        re.findall(r'(\w+)="([^"]*)"', proposed)
    )


@pytest.mark.parametrize(
    ("files", "options"),
    [
        pytest.param(["images/a.jpg", "masks/a_mask.png"], {"mask_suffix": "_mask"}, id="suffix"),
        pytest.param(["images/a.jpg", "masks/a_mask.gif"], {"mask_suffix": "_mask.gif"}, id="Carvana"),
        pytest.param(
            ["images/21_training.tif", "1st_manual/21_manual1.gif"],
            {"masks": "1st_manual", "image_suffix": "_training", "mask_suffix": "_manual1"},
            id="DRIVE",
        ),
        pytest.param(["a.png", "a_mask.png"], {"images": ".", "masks": ".", "mask_suffix": "_mask"}, id="side by side"),
        pytest.param(["a.jpg", "a.png"], {"images": "{stem}.jpg", "masks": "{stem}.png"}, id="told by their endings"),
        pytest.param(["a.JPG", "a.Png"], {"images": "{stem}.jpg", "masks": "{stem}.png"}, id="endings in capitals"),
        pytest.param(
            ["7/image.png", "7/label.png"],
            {"images": "{stem}/image.png", "masks": "{stem}/label.png"},
            id="a folder each",
        ),
        pytest.param(
            ["anna/photos/1.jpg", "anna/masks/1.png"],
            {"images": "{0}/photos/{stem}.jpg", "masks": "{0}/masks/{stem}.png"},
            id="a folder inside the path",
        ),
        pytest.param(["images/x/a.jpg", "masks/x/a.png"], {}, id="subfolders"),
        pytest.param(["images/a.jpg", "masks/y/z/a_v2.png"], {"masks": "masks/**/{stem}_v?.png"}, id="wildcards"),
        pytest.param(["images/a.jpg", "masks\\a.png".replace("\\", "/")], {"masks": ".\\masks"}, id="backslashes"),
        pytest.param(["images/a.b.jpg", "masks/a.b.png"], {}, id="dots"),
    ],
)
def test_images_are_paired_with_masks(tmp_path, files, options):
    put(tmp_path, *files)
    assert names(tmp_path, **options) == [tuple(files)]
    assert data.check(data.FolderDataset(tmp_path, classes=CLASSES, **options)).ok


def test_cityscapes_is_read_as_it_is_laid_out(tmp_path):
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        put(tmp_path, f"leftImg8bit/{split}/{city}/{city}_1_leftImg8bit.png")
        put(tmp_path, *(f"gtFine/{split}/{city}/{city}_1_gtFine_{kind}.png" for kind in ("color", "labelIds")))
    suffixes = {"image_suffix": "_leftImg8bit", "mask_suffix": "_gtFine_labelIds"}
    pattern = {
        "images": "leftImg8bit/{split}/*/{stem}_leftImg8bit.png",
        "masks": "gtFine/{split}/*/{stem}_gtFine_labelIds.png",
    }
    whole = {"image_suffix": "_leftImg8bit", "masks": "gtFine/{split}/{stem}_gtFine_labelIds.png"}
    for options in (
        {"images": "leftImg8bit", "masks": "gtFine", **suffixes},
        pattern,
        whole | {"images": "leftImg8bit"},
    ):
        assert [image for image, _ in names(tmp_path, "train", **options)] == [
            f"leftImg8bit/train/{city}/{city}_1_leftImg8bit.png" for city in ("aachen", "bochum")
        ]
        assert names(tmp_path, "val", **options)[0][1] == "gtFine/val/lindau/lindau_1_gtFine_labelIds.png"
    found = data.check(data.FolderDataset(tmp_path, "train", classes=CLASSES, **pattern))
    assert any(note.startswith("2 files not named *_gtFine_labelIds.png in ") for note in found.notes)


@pytest.mark.parametrize("folder", ["valid", "validation", "val"])
@pytest.mark.parametrize(
    ("image", "mask", "options"),
    [
        ("{}/a.jpg", "{}/a_mask.png", {"images": "{split}", "masks": "{split}", "mask_suffix": "_mask"}),  # Roboflow
        ("{}/a.jpg", "{}/a_mask.png", {"images": ".", "masks": ".", "mask_suffix": "_mask"}),
        ("images/{}/a.jpg", "masks/{}/a.png", {}),
        ("{}/images/a.jpg", "{}/masks/a.png", {}),
        ("images/{}/a.jpg", "{}/masks/a.png", {}),
    ],
)
def test_folders_of_splits_are_found_and_valid_means_val(tmp_path, folder, image, mask, options):
    for name in ("train", folder):
        put(tmp_path, image.format(name), mask.format(name))
    for split, name in (("train", "train"), ("val", folder), ("valid", folder)):
        assert names(tmp_path, split, **options) == [(image.format(name), mask.format(name))]


def test_masks_of_other_splits_are_no_problem(tmp_path):
    put(tmp_path, "images/train/a.png", "images/val/b.png", "masks/a.png", "masks/b.png")
    for split, other in (("train", "b"), ("val", "a")):
        found = data.check(data.FolderDataset(tmp_path, split, classes=CLASSES))
        assert found.ok and found.images == 1
        assert found.notes[0].startswith("1 mask in ") and found.notes[0].endswith(f"{split}: {other}.png")


def test_files_beside_each_other_are_told_apart_step_by_step(tmp_path):
    """From a flat folder to its options, by the errors alone."""
    put(tmp_path, *(f"{stem}{end}.png" for stem in ("1", "10", "2") for end in ("", "_mask")))
    options = {}
    for option, value in (("images", "."), ("masks", "."), ("mask_suffix", "_mask")):
        with pytest.raises((ValueError, FileNotFoundError), match=f'{option}="{value}"'):
            names(tmp_path, **options)
        options[option] = value
    assert names(tmp_path, **options)[2] == ("2.png", "2_mask.png")


def test_files_of_one_name_are_told_apart_by_their_type(tmp_path):
    put(tmp_path, "1.png", "1.jpg", "2.png", "2.jpg")
    with pytest.raises(ValueError, match=r': give image_suffix="\.jpg" and mask_suffix="\.png"$'):
        names(tmp_path, images=".", masks=".")
    options = {"images": ".", "masks": ".", "image_suffix": ".jpg", "mask_suffix": ".png"}
    assert names(tmp_path, **options)[1] == ("2.jpg", "2.png")


@pytest.mark.parametrize("split", ["", "train/"])
@pytest.mark.parametrize(
    ("image", "mask", "place"),
    [
        ("{}", "{}_mask", "."),
        ("{}_img", "{}_gt", "."),
        ("img_{}", "mask_{}", "."),
        ("p/img_{}", "p/mask_{}", "."),
        ("p/{}", "p/mask_{}", "x"),
        ("{}", "{}.jpg", "."),
        ("{}", "seg_{}", "x"),
        ("a_{}_raw", "a_{}_label", "x"),
        ("{}", "{}_mask", "{stem}"),
    ],
)
def test_files_in_one_folder_are_told_apart_as_the_error_proposes(tmp_path, split, image, mask, place):
    folder = "" if "{" in place else f"{place}/"
    put(tmp_path, *(f"{folder}{split}{path.format(stem)}.png" for stem in (7, 8, 10, 11) for path in (image, mask)))
    options = {"images": place, "masks": place}
    if split and "{" in place:
        options = {"images": "{split}/{stem}", "masks": "{split}/{stem}"}
    for _ in range(2):
        try:
            names(tmp_path, split.rstrip("/") or None, **options)
        except ValueError as error:
            options = cured(str(error), options)
    pairs = names(tmp_path, split.rstrip("/") or None, **options)
    assert sorted(pairs) == sorted(
        tuple(f"{folder.removeprefix('./')}{split}{path.format(stem)}.png" for path in (image, mask))
        for stem in (7, 8, 10, 11)
    )


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (["images/a.png", "images/sub/b.png"], {}),
        (["a.png", "sub/b.png"], {"images": "{stem}.png"}),
        (["images/a_x.png", "images/sub/b_x.png"], {"images": "images/{stem}_x.png"}),
        (["images/a_x.png", "images/sub/b_x.png"], {"image_suffix": "_x"}),
        (["images/train/a.png", "images/train/sub/b.png"], {}),
    ],
)
def test_files_in_subfolders_are_read_as_the_note_proposes(tmp_path, files, options):
    put(tmp_path, *files, "masks/a.png")
    split = "train" if "/train/" in files[0] else None
    notes = data.FolderDataset(tmp_path, split, classes=CLASSES, **options).unread
    note = next(line for line in notes if "give images" in line)
    options = cured(note.removesuffix(" to read them"), options)
    assert [image for image, _ in names(tmp_path, split, **options)] == files


def test_of_files_of_one_name_the_type_is_proposed_that_all_have(tmp_path):
    put(tmp_path, *(f"images/{stem}.jpg" for stem in range(5)), *(f"masks/{stem}.png" for stem in range(5)))
    put(tmp_path, "images/0.png")
    dataset = data.FolderDataset(tmp_path, classes=CLASSES)
    assert dataset.duplicates[0][1] == ': choose one type, as image_suffix=".jpg"'
    assert len(names(tmp_path, image_suffix=".jpg")) == 5
    put(tmp_path, "images/5.png", "masks/5.png")  # now, no type has all of them
    assert data.FolderDataset(tmp_path, classes=CLASSES).duplicates[0][1] == ": rename it, or move it out of the folder"


@pytest.mark.parametrize("ending", ["gif", "ppm", "pgm", "jp2", "bmp", "tif", "png"])
def test_masks_of_many_formats_are_read(tmp_path, ending):
    put(tmp_path, "images/a.png", f"masks/a.{ending}")
    assert data.FolderDataset(tmp_path, classes=CLASSES)[0][1].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_letters_are_equal(tmp_path, forms):
    image, mask = (unicodedata.normalize(form, "Größe-é") for form in forms)
    put(tmp_path, f"images/{image}.png", f"masks/{mask}_Maß.png")
    (tmp_path / "train.txt").write_text(mask)
    assert len(names(tmp_path, "train", mask_suffix="_Maß")) == 1
    (tmp_path / "images").rename(tmp_path / unicodedata.normalize(forms[0], "Büro"))
    assert len(names(tmp_path, images=unicodedata.normalize(forms[1], "Büro"), mask_suffix="_Maß")) == 1


LISTED = {
    "bytes of Windows": b"a.png\r\nb.png\r\n",
    "mark": "a.png\nb.png\n".encode("utf-8-sig"),
    "UTF-16": "a.png\r\nb.png\r\n".encode("utf-16"),
    "UTF-16 without mark": "a.png\r\nb.png\r\n".encode("utf-16-le"),
    "other end first": b"\xfe\xff" + "a.png\nb.png".encode("utf-16-be"),
    "backslashes": b"images\\a.png\nC:\\data\\images\\b.png\n",
    "comments": b"# mine\na.png  # blurred\n\n#b\nb.png\n",
    "old line ends": b"a.png\rb.png",
    "quotes and columns": b'"a.png"\nimages/b.png,masks/b.png\n',
    "VOC": b"a  1\nb -1\n",
}


@pytest.mark.parametrize("content", LISTED.values(), ids=LISTED)
def test_lists_of_any_editor_are_read(tmp_path, content):
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"))
    (tmp_path / "train.txt").write_bytes(content)
    assert [image for image, _ in names(tmp_path, "train")] == ["images/a.png", "images/b.png"]


COLUMNS = {
    "an index of pandas": ",filename\n0,2.png\n1,3.png\n",
    "an index of pandas, without endings": ",stem\n0,2\n1,3\n",
    "an index of pandas without header": "0,2.png\n1,3.png\n",
    "an index with a title": "id;file\n0;images/2.png\n1;images/3.png\n",
    "another image": "images/2.png images/1.png\nimages/3.png images/2.png\n",
    "another mask": "images/2.png masks/0.png\nimages/3.png masks/1.png\n",
    "another image, without endings": "images/2 images/1\nimages/3 images/2\n",
    "labels that are names, too": "2 0\n3 1\n",
}


@pytest.mark.parametrize("content", COLUMNS.values(), ids=COLUMNS)
def test_the_column_of_images_is_found(tmp_path, content):
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "0123"))
    (tmp_path / "train.csv").write_text(content)
    assert [image for image, _ in names(tmp_path, "train", splits="{split}.csv")] == ["images/2.png", "images/3.png"]


@pytest.mark.parametrize(
    ("masks", "cure"),
    [("masks/*_mask.png", "masks/{stem}_mask.png"), ("masks/{name}_mask.png", "masks/{stem}_mask.png"),
     ("*.png", "{stem}.png")],
)  # fmt: skip
def test_a_pattern_of_files_needs_a_stem(tmp_path, masks, cure):
    put(tmp_path, "images/a.jpg", "masks/a_mask.png", "a.png")
    with pytest.raises(ValueError, match=re.escape(f'masks="{masks}" has no {{stem}}')) as caught:
        names(tmp_path, masks=masks)
    assert str(caught.value).endswith(f'give masks="{cure}"')
    assert len(names(tmp_path, masks=cure)) == 1


def test_no_suffix_is_proposed_that_parts_as_many_pairs_as_it_makes(tmp_path):
    put(tmp_path, *(f"images/{stem}.jpg" for stem in "0123"))
    put(tmp_path, "masks/0_mask.png", "masks/1_mask.png", "masks/2.png", "masks/3.png")
    found = " ".join(data.check(data.FolderDataset(tmp_path, classes=CLASSES)).problems)
    assert "mask_suffix" not in found and "0_mask" in found
    (tmp_path / "masks" / "2.png").rename(tmp_path / "masks" / "2_mask.png")
    assert "mask_suffix" in " ".join(data.check(data.FolderDataset(tmp_path, classes=CLASSES)).problems)


def test_titles_that_decide_which_column_is_meant_are_not_guessed(tmp_path):
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in ("0", "1", "2", "3", "4 5")))
    for titles in ("number,image", "images"):
        (tmp_path / "train.csv").write_text(f"{titles}\n0,2\n1,3\n")
        with pytest.raises(ValueError, match=r"train\.csv: columns 1 and 2 both contain names of images"):
            names(tmp_path, "train", splits="{split}.csv")
    (tmp_path / "train.csv").write_text("4 5.png\n0 1.png\n")  # names with spaces: the second image is missing
    assert [image for image, _ in names(tmp_path, "train", splits="{split}.csv")] == ["images/4 5.png", "images/0.png"]


def test_names_in_lists_are_those_of_one_image(tmp_path):
    put(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in ("x/1", "y/1", "y/2")))

    def listed(*lines, file="train.txt", **options):
        (tmp_path / file).write_text("\n".join(lines))
        return names(tmp_path, "train", **options)

    assert [image for image, _ in listed("D:\\set\\images\\y\\1.png", "/home/me/x/1.png")] == [
        "images/y/1.png",
        "images/x/1.png",
    ]
    table = "image,mask", "images/y/2.png,masks/y/2.png"
    assert len(listed(*table, file="train.csv", splits="{split}.csv")) == 1
    for header in ("image,mask", ",image path,mask path", "image1;image2"):
        assert len(listed(header, *table[1:])) == 1
    for missing in ("x/3.png,masks/x/3.png", "0003,0003_mask"):  # no header, but an image that is missing
        listed(missing, *table[1:])
        assert missing in data.check(data.FolderDataset(tmp_path, "train", classes=CLASSES)).problems[0]
    with pytest.raises(ValueError, match=r"train\.txt: 1 name fits several images in .*, such as '1\.png'"):
        listed("1.png", "y/2.png")
    listed("x/1.png", "x/2.png")  # which is not y/2.png
    (problem,) = data.check(data.FolderDataset(tmp_path, "train", classes=CLASSES)).problems
    assert problem.startswith("1 name is listed in ") and problem.endswith("(x/2.png)")


def test_a_list_of_another_encoding_is_named(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "train.txt").write_bytes("a.png\nGröße.png".encode("cp1252"))
    with pytest.raises(ValueError, match=r"train\.txt is not a text in UTF-8 or UTF-16 \(line 2\): save it as UTF-8"):
        names(tmp_path, "train")


def test_a_list_that_names_no_image_is_named(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "train.txt").write_text("x.png\ny.png")
    with pytest.raises(
        ValueError, match=r"train\.txt: none of its 2 names, such as 'x\.png', is an image in .* has a$"
    ):
        names(tmp_path, "train")


@pytest.mark.parametrize(
    ("file", "splits"),
    [
        ("ImageSets/Segmentation/val.txt", None),
        ("splits/valid.txt", None),
        ("lists/of/val.txt", "lists/of"),
        ("lists/val_aug.list", "lists/{split}_aug.list"),
        ("my.txt", {"train": "other.txt", "val": "my.txt"}),
    ],
)
def test_lists_are_found_wherever_they_lie(tmp_path, file, splits):
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("b\nc\n")
    assert [image for image, _ in names(tmp_path, "val", splits=splits)] == ["images/b.png", "images/c.png"]
    with pytest.raises(FileNotFoundError, match=r"'test' has neither a list|no list .* of split 'test'"):
        names(tmp_path, "test", splits=splits)


def test_shares_divide_all_images_once_and_keep_them_when_others_are_added(tmp_path):
    stems = [f"{index:03}" for index in range(100)]
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in stems))

    def divided(**options):
        return {split: {image for image, _ in names(tmp_path, split, **options)} for split in ("train", "val", "test")}

    parts = divided(splits="80/10/10")
    assert {split: len(files) for split, files in parts.items()} == {"train": 80, "val": 10, "test": 10}
    assert set.union(*parts.values()) == {image for image, _ in names(tmp_path)}
    assert parts == divided(splits="0.8/0.1/0.1") == divided(splits="80 % / 10 % / 10 %")
    assert parts != divided(splits="80/10/10", split_seed=1)
    put(tmp_path, *(f"{kind}/new{index}.png" for kind in ("images", "masks") for index in range(5)))
    later = divided(splits="80/10/10")
    assert sum(len(parts[split] & later[split]) for split in parts) >= 90
    with pytest.raises(FileNotFoundError, match=r'has no share for .test.; .*, give split="val"$'):
        names(tmp_path, "test", splits="80/20")
    with pytest.raises(FileNotFoundError, match=r'give split="val" \(--split val\)$'):
        names(tmp_path, "test", splits="80/20", interface="recipe")
    for wrong in ("80/10/20", "100", "80/-10/30", "80/10/5/5"):
        with pytest.raises(ValueError, match=r'such as splits="80/10/10"'):
            names(tmp_path, "train", splits=wrong)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_every_share_has_an_image(tmp_path, count):
    put(tmp_path, *(f"{kind}/{index}.png" for kind in ("images", "masks") for index in range(count)))
    shares = "10/45/45" if count > 2 else "90/10"
    sizes = [len(names(tmp_path, split, splits=shares)) for split in ("train", "val", "test")[: 3 if count > 2 else 2]]
    assert min(sizes) > 0 and sum(sizes) == count


def test_files_that_are_not_read_are_counted(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png", "images/sub/b.png", ".hidden.png", "images/Thumbs.db")
    put(tmp_path, *(f"masks/{index}.dcm" for index in range(40)))
    found = data.check(data.FolderDataset(tmp_path, classes=CLASSES))
    assert found.ok
    (subfolder, format_) = found.notes
    assert subfolder.startswith("1 file in subfolders of ") and 'give images="images/**"' in subfolder
    assert format_.startswith("40 files ending in .dcm in ") and format_.endswith(
        "are not read: 0.dcm, 1.dcm, 10.dcm and 37 more"
    )
    assert len(names(tmp_path, images="images/**")) == 2


@pytest.mark.parametrize(
    ("masks", "cure"),
    [
        (["a_mask", "b_mask"], 'mask_suffix="_mask"'),
        (["a_seg_v1", "b_seg_v1", "c"], 'mask_suffix="_seg_v1"'),
        (["A", "B"], "the names of 2 masks differ only in capital letters"),
        (["x", "y"], "where x, y have no image"),
    ],
)
def test_the_error_of_a_missing_mask_proposes_what_would_pair_it(tmp_path, masks, cure):
    put(tmp_path, "images/a.png", "images/b.png", *(f"masks/{mask}.png" for mask in masks))
    dataset = data.FolderDataset(tmp_path, classes=CLASSES)
    with pytest.raises(ValueError, match=r"a\.png: no mask of this name in .*masks") as caught:
        dataset[0]
    assert cure in str(caught.value)
    assert any(cure in problem for problem in data.check(dataset).problems)


CURED = {
    "both suffixes": ("images/{}_img", "masks/{}_gt", {}),
    "both beginnings": ("images/img_{}", "masks/mask_{}", {}),
    "one beginning": ("images/{}", "masks/label{}", {}),
    "a further suffix": ("images/{}", "masks/{}_gt_v2", {"mask_suffix": "_v2"}),
    "a suffix of a pattern": ("images/{}", "masks/{}_gt", {"masks": "masks/{stem}.png"}),
    "a beginning beside a suffix": ("images/{}_x", "masks/m_{}", {"image_suffix": "_x"}),
    "all in one folder": ("img_{}", "m/mask_{}", {"images": ".", "masks": "m"}),
    "split below": ("images/{split}/img_{}", "masks/{split}/mask_{}", {}),
    "split above": ("{split}/images/img_{}", "{split}/masks/mask_{}", {}),
    "split of images alone": ("images/{split}/{}", "masks/label_{}", {}),
    "suffixes in folders": ("images/{split}/{city}/{}_img", "masks/{split}/{city}/{}_gt", {}),
    "beginnings in folders": ("images/{split}/{city}/img_{}", "masks/{split}/{city}/mask_{}", {}),
    "beginnings in folders of folders": ("images/{city}/1/img_{}", "masks/{city}/1/{}", {}),
    "folders of images alone": ("images/{city}/{}", "masks/{}", {}),
    "folders of masks alone": ("images/img_{}", "masks/{city}/mask_{}", {}),
    "the pattern of Cityscapes": (
        "images/{split}/{city}/{}", "gt/{split}/{city}/{}_gt", {"masks": "gt/{split}/*/{stem}_gt.png"}),
    "types inside the names": ("images/{}", "masks/{}.jpg", {}),
    "types inside the names in folders": ("images/{city}/{}", "masks/{city}/{}.png.mask", {}),
    "types inside the names of a pattern": ("images/{}", "masks/{}.jpg", {"masks": "masks/{stem}"}),
    "folders and suffixes": (
        "images/{split}/{city}/{}_img", "gt/{split}/{}", {"masks": "gt", "image_suffix": "_img"}),
}  # fmt: skip


@pytest.mark.parametrize(("image", "mask", "options"), CURED.values(), ids=CURED)
def test_what_is_proposed_pairs_the_files(tmp_path, image, mask, options):
    splits = ("train", "val") if "{split}" in image else (None,)
    for split in splits:
        for stem in (8, 9, 10, 11):
            place = {"split": split, "city": "y" if stem > 9 else "x"}
            put(tmp_path, *(f"{path.format(f'{split}{stem}', **place)}.png" for path in (image, mask)))
    for _ in range(2):  # from one message to the next
        try:
            data.FolderDataset(tmp_path, splits[0], classes=CLASSES, **options)[0]
        except ValueError as error:
            options = cured(str(error), options)
    for split in splits:
        pairs = names(tmp_path, split, **options)
        assert len(pairs) == 4 and all(mask for _, mask in pairs)


@pytest.mark.parametrize("splits", [("train", "valid"), ("train",)])
@pytest.mark.parametrize("options", [{}, {"images": "{split}/images", "masks": "{split}/masks"}, {"images": "images"}])
@pytest.mark.parametrize("place", ["{split}/{kind}", "{kind}/{split}"])
def test_a_split_that_is_missing_is_replaced_as_the_message_proposes(tmp_path, place, options, splits):
    if place == "{kind}/{split}" and "masks" in options:
        options = {kind: f"{kind}/{{split}}" for kind in options}
    put(tmp_path, *(f"{place.format(split=split, kind=kind)}/{stem}.png"
                    for split in splits for kind in ("images", "masks") for stem in range(10)))  # fmt: skip
    with pytest.raises(FileNotFoundError, match="'test' has n") as caught:
        names(tmp_path, "test", **options)
    text = str(caught.value)
    assert f"splits found: {', '.join(splits)}; " in text
    if "valid" in splits:
        assert text.endswith('give split="valid"') and len(names(tmp_path, "valid", **options)) == 10
        return
    if 'images="' in text:
        options = cured(text, options)
        options["masks"] = options["images"].replace("images", "masks")
    elif options:
        options = {}
    assert len(names(tmp_path, "test", **options | {"splits": "80/10/10"})) == 1
    if "masks" not in options:
        assert "give split=None" in text and len(names(tmp_path)) == 10


@pytest.mark.parametrize(
    "pattern", ["{stem}.png", "images/*/{stem}.png", "images/*/{stem}", "images/{stem}", "x/**/{stem}"]
)
def test_a_pattern_without_split_is_replaced_by_one_that_finds_its_images(tmp_path, pattern):
    folder = "/".join(part for part in pattern.split("/")[:-1] if "*" not in part)
    put(tmp_path, *(f"{folder}/{split}/{stem}.png".lstrip("/") for split in ("train", "val") for stem in (1, 2)))
    put(tmp_path, "masks/1.png", "0.png")
    with pytest.raises(FileNotFoundError, match=r"no \{split\} in the pattern") as caught:
        names(tmp_path, "val", images=pattern)
    assert len(names(tmp_path, "val", **cured(str(caught.value), {}))) == 2


def test_images_that_shares_leave_out_are_noted_with_what_would_pair_them(tmp_path):
    put(tmp_path, *(f"images/{stem}.png" for stem in "abcdefgh"), *(f"masks/{stem}_m.png" for stem in "abcdef"))
    put(tmp_path, "masks/a.png", "masks/b.png")
    note = data.FolderDataset(tmp_path, "train", classes=CLASSES, splits="80/20").left_out_note
    assert note.endswith(': give mask_suffix="_m"')
    assert len(names(tmp_path, "train", splits="80/20", **cured(note, {}))) == 5


def test_it_is_said_if_several_files_may_be_the_images(tmp_path):
    put(tmp_path, *(f"{stem}_{kind}.png" for stem in (1, 2) for kind in ("rgb", "depth", "label")))
    with pytest.raises(ValueError, match=r'give image_suffix="_depth" and .*, or image_suffix="_rgb" and mask_su'):
        names(tmp_path, images=".", masks=".")


def test_one_name_that_differs_changes_no_options(tmp_path):
    put(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"))
    put(tmp_path, "images/d.png", "masks/d_v2.png", "images/e1.png", "masks/e2.png")
    assert data.FolderDataset(tmp_path, classes=CLASSES).cure == ", where d_v2, e2 have no image"


def test_a_pattern_without_the_folders_of_splits_is_named_with_the_one_that_has_them(tmp_path):
    put(tmp_path, *(f"{kind}/{split}/{kind[0]}_1.png" for kind in ("images", "masks") for split in ("train", "valid")))
    options = {"images": "images/i_{stem}", "masks": "masks/{split}/m_{stem}"}
    with pytest.raises(FileNotFoundError, match=r"is a folder .*valid, but no \{split\} in the pattern") as caught:
        names(tmp_path, "val", **options)
    options = cured(str(caught.value), options)
    assert names(tmp_path, "val", **options) == [("images/valid/i_1.png", "masks/valid/m_1.png")]
    with pytest.raises(FileNotFoundError, match=r"splits found: train, valid; .* give --split valid$"):
        names(tmp_path, "test", interface="command")


def test_a_suffix_that_no_mask_has_is_explained(tmp_path):
    put(tmp_path, "images/a.png", "masks/a_Mask.png")
    with pytest.raises(ValueError, match=r"masks, which has 1 file not named \*_mask: a_Mask\.png$"):
        data.FolderDataset(tmp_path, classes=CLASSES, mask_suffix="_mask")[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"images": "photos"},
            FileNotFoundError,
            r"no folder .*photos; .* give images=; .* has the folders images, masks$",
        ),
        (
            {"masks": "images"},
            ValueError,
            r"images and masks are the same files, such as .*a\.png: give masks= or mask_suf",
        ),
        ({"masks": "{stem}.png", "mask_suffix": "_m"}, ValueError, r"write '_m' behind it, without mask_suffix="),
        (
            {"images": "{split}", "splits": "80/20"},
            ValueError,
            r'images="\{split\}" has a \{split\}, and splits="80/20"',
        ),
    ],
)
def test_options_that_contradict_the_files_are_named(tmp_path, options, error, message):
    put(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(error, match=message):
        names(tmp_path, "train", **options)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere \(working directory: "):
        names(tmp_path / "nowhere")


def test_a_link_to_a_folder_above_does_not_repeat_its_files(tmp_path):
    put(tmp_path, "images/x/a.png", "masks/x/a.png")
    (tmp_path / "images" / "x" / "up").symlink_to(tmp_path / "images", target_is_directory=True)
    assert names(tmp_path) == [("images/x/a.png", "masks/x/a.png")]


def coco(root, split, *stems):
    """Writes COCO annotations of images of 2x2 pixels, whose right half is a cell."""
    content = {
        "images": [{"id": id, "file_name": f"{stem}.png", "height": 2, "width": 2} for id, stem in enumerate(stems)],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"image_id": id, "category_id": 1, "segmentation": [[1, 0, 2, 0, 2, 2, 1, 2]]} for id in range(len(stems))
        ],
    }
    (root / f"instances_{split}.json").write_text(json.dumps(content))


def test_annotations_take_the_place_of_masks(tmp_path):
    put(tmp_path, *(f"images/{stem}.png" for stem in "abc"))
    coco(tmp_path, "train", "a", "b")
    coco(tmp_path, "val", "c")
    options = {"classes": CLASSES, "annotations": "instances_{split}.json"}
    train, val = (data.FolderDataset(tmp_path, split, **options) for split in ("train", "val"))
    assert [[dataset.identifier(index) for index in range(len(dataset))] for dataset in (train, val)] == [
        ["a", "b"],
        ["c"],
    ]
    assert train[0][1].tolist() == [[0, 1], [0, 1]]
    found = data.check(train)
    assert found.ok and found.pixels == (4, 4)
    whole = data.FolderDataset(tmp_path, classes=CLASSES, annotations="instances_train.json")
    with pytest.raises(ValueError, match=r"c\.png: no annotations of this image in .*instances_train\.json"):
        whole[2]
    assert data.check(whole).problems[0].startswith("1 image has no annotations of this image in ")
    write(tmp_path / "images" / "a.png", ids([0, 0, 0]))
    assert "the image is 1x3, but was 2x2" in data.check(train).problems[0]


def test_names_of_annotated_objects_are_ignored(tmp_path):
    put(tmp_path, "images/a.png")
    coco(tmp_path, "all", "a")
    path = tmp_path / "instances_all.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 2, "name": "dust"})
    content["annotations"].append({"image_id": 0, "category_id": 2, "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]})
    path.write_text(json.dumps(content))
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, annotations=path.name, ignore="dust")
    assert dataset[0][1].tolist() == [[255, 1], [0, 1]]
    put(tmp_path, "masks/a.png")
    with pytest.raises(ValueError, match=r"ignore=\['dust'\]: masks have no names"):
        names(tmp_path, ignore="dust")


def test_annotations_exclude_options_of_masks(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png")
    coco(tmp_path, "all", "a")
    with pytest.raises(ValueError, match="annotations= takes the place of masks: leave out masks="):
        names(tmp_path, annotations="instances_all.json", values=(0, 255))
    with pytest.raises(FileNotFoundError, match=r"no annotations at .*none\.json; give their place, annotations="):
        names(tmp_path, annotations="none.json")


def test_annotations_beside_the_images_are_not_reported_as_unread(tmp_path):
    put(tmp_path, "images/a.png", "images/notes.doc")
    shape = {"label": "cell", "points": [[1, 0], [2, 0], [2, 2], [1, 2]], "shape_type": "polygon"}
    content = {"imagePath": "a.png", "imageHeight": 2, "imageWidth": 2, "shapes": [shape]}
    (tmp_path / "images" / "a.json").write_text(json.dumps(content))
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, annotations="images")
    assert dataset[0][1].tolist() == [[0, 1], [0, 1]]
    (note,) = data.check(dataset).notes
    assert note.startswith("1 file ending in .doc in ")


def test_names_that_a_list_repeats_are_noted(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "train.txt").write_text("a\na.png\nimages/a.png\n")
    dataset = data.FolderDataset(tmp_path, "train", classes=CLASSES)
    assert len(dataset) == 1
    assert data.check(dataset).notes[0].startswith("2 repeated names in ")


def test_annotated_images_that_are_missing_are_named(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    coco(tmp_path, "all", "a", "c", "d")
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, annotations="instances_all.json")
    alone, absent = data.check(dataset).problems
    assert alone.startswith("1 image has no annotations of this image in ")
    assert absent.startswith("2 annotated images are not in ") and absent.endswith("(c.png, d.png)")
    put(tmp_path, "photos/train/a.png", "photos/val/c.png", "photos/val/d.png")  # one file for all splits
    for split in ("train", "val"):
        options = {"images": "photos", "annotations": "instances_all.json"}
        assert data.check(data.FolderDataset(tmp_path, split, classes=CLASSES, **options)).ok


def test_an_image_without_a_text_of_yolo_is_named_with_the_cure(tmp_path):
    put(tmp_path, "train/images/a.png", "train/images/b.png")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 0.5 0 1 0 1 1 0.5 1")
    (tmp_path / "data.yaml").write_text("names: [cell]")
    (tmp_path / "train" / "mkdocs.yml").write_text("a: !!python/name:b.c")
    dataset = data.FolderDataset(tmp_path, "train", classes=CLASSES, annotations="labels")
    assert dataset[0][1].tolist() == [[0, 1], [0, 1]]
    with pytest.raises(ValueError, match=r"b\.png: no annotations .* give an empty text file of its name"):
        dataset[1]
    (tmp_path / "train" / "labels" / "b.txt").write_text("")
    assert data.FolderDataset(tmp_path, "train", classes=CLASSES, annotations="labels")[1][1].max() == 0


def test_names_of_folders_and_lists_in_capitals_are_found(tmp_path):
    put(tmp_path, "Images/Train/a.png", "Masks/Train/a.png", "Images/Val/b.png", "Masks/Val/b.png")
    for split, stem in (("train", "a"), ("val", "b")):
        assert names(tmp_path, split) == [(f"Images/{split.title()}/{stem}.png", f"Masks/{split.title()}/{stem}.png")]
    (tmp_path / "Train.TXT").write_text("b")
    assert names(tmp_path, "train", images="images/**", masks="masks/**")[0][0] == "Images/Val/b.png"
