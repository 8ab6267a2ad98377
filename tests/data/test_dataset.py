import contextlib
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg import data
from tests.data.folders import Pairs, ids, numbered, write, write_pair

CLASSES = ("sky", "road", "car")


def folder(tmp_path, *stems, **options):
    for stem in stems:
        write_pair(tmp_path, stem, ids([0, 1, 2], [2, 1, 0]))
    return data.FolderDataset(tmp_path, classes=CLASSES, **options)


@pytest.mark.parametrize("fitting", [10, 4])
def test_images_are_read_once_while_they_fit(fitting):
    dataset = numbered(10, memory_limit=fitting * 96)
    for _ in range(3):
        assert [dataset[index][0][0, 0, 0] for index in range(10)] == list(range(10))
    assert dataset.reads == [1] * fitting + [3] * (10 - fitting)


def test_the_memory_limit_holds_under_threads():
    dataset = numbered(10, memory_limit=4 * 96)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda index: int(dataset[index][0][0, 0, 0]), list(range(10)) * 50))
    assert values == list(range(10)) * 50
    assert sum(reads <= 8 for reads in dataset.reads) == 4  # at most once per thread, then kept


def test_writing_into_a_pair_leaves_the_data_set_as_it_was():
    dataset = numbered(10)
    dataset[3][0][:] = 77
    assert dataset[3][0].max() == 3


def test_a_data_set_can_be_sent_to_another_process():
    dataset = numbered(10)
    dataset[1]
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy[1][0] == dataset[1][0]).all()


def test_indices_behave_as_in_a_list():
    dataset = numbered(10)
    assert dataset[-1][0][0, 0, 0] == 9
    with pytest.raises(IndexError):
        dataset[10]


@pytest.mark.parametrize("classes", [(), ("cell",), "cell", ["c"] * 256])
def test_too_few_or_too_many_classes_are_refused(classes):
    with pytest.raises(ValueError, match="classes must be 2 to 255 names"):
        data.Dataset("cells", classes)


def test_a_palette_has_one_color_per_class():
    with pytest.raises(ValueError, match="the palette has 2 colors for 3 classes"):
        data.Dataset("roads", CLASSES, [(0, 0, 0), (1, 1, 1)])
    with pytest.raises(ValueError, match=r"each 0 to 255, got \(0, 0, 256\)"):
        data.Dataset("roads", CLASSES, [(0, 0, 0), (1, 1, 1), (0, 0, 256)])
    assert len(set(data.Dataset("roads", [str(i) for i in range(255)]).palette)) == 255


def test_images_meet_the_masks_of_their_stem(tmp_path):
    dataset = folder(tmp_path, "b", "a", "c.d")
    assert [dataset.identifier(index) for index in range(3)] == ["a", "b", "c.d"]
    image, label = dataset[0]
    assert (image.shape, image.dtype, label.dtype) == ((2, 3, 3), np.uint8, np.uint8)
    assert label.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert dataset.size(0) == (2, 3)


@pytest.mark.parametrize("line", ["{}", "images/{}.png", "/far/away/{}.png /far/away/{}_mask.png", "  {}.png  "])
def test_a_list_names_a_split_by_stem_or_path(tmp_path, line):
    write(tmp_path / "images" / "with space.png", np.zeros((2, 3, 3), np.uint8))
    write(tmp_path / "masks" / "with space.png", ids([0, 1, 2], [2, 1, 0]))
    (tmp_path / "val.txt").write_text("\n".join(line.format(stem, stem) for stem in ("c", "a")) + "\n\nwith space\n")
    dataset = folder(tmp_path, "a", "b", "c", split="val")
    assert [dataset.identifier(index) for index in range(len(dataset))] == ["c", "a", "with space"]


def test_subfolders_are_splits_also_in_other_layouts(tmp_path):
    for split, stem in (("train", "a"), ("train", "b"), ("val", "c")):
        write_pair(tmp_path, stem, ids([0, 1]), f"images/{split}", f"masks/{split}")
    splits = [data.FolderDataset(tmp_path, split, classes=CLASSES) for split in ("train", "val")]
    assert [len(dataset) for dataset in splits] == [2, 1]
    assert splits[1][0][1].tolist() == [[0, 1]]
    write_pair(tmp_path, "d", ids([0, 1]), "val/img", "val/seg")
    other = data.FolderDataset(tmp_path, "val", classes=CLASSES, images="{split}/img", masks="{split}/seg")
    assert [other.identifier(index) for index in range(len(other))] == ["d"]


def test_an_unknown_split_names_those_there_are(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(FileNotFoundError, match=r"'vall' has neither a list .*; splits found: train"):
        folder(tmp_path, "a", split="vall")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*images; if it has another name, give images="):
        data.FolderDataset(tmp_path, classes=CLASSES)


def cut_short(path):
    write(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("damage", "split", "message"),
    [
        (lambda root: (root / "masks/a.png").unlink(), None, r"a\.png: no mask of this name"),
        (lambda root: (root / "t.txt").write_text("a\ngh\n"), "t", r"t\.txt lists 1 .* not in .*images, such as 'gh'"),
        (lambda root: write(root / "masks/a.png", ids([0, 1])), None, r"a\.png: .* is 1x2 but its image a\.png is 2x3"),
        (lambda root: (root / "images/a.png").write_text("hello"), None, r"images.a\.png: not an image that can be"),
        (lambda root: cut_short(root / "images/a.png"), None, r"images.a\.png: not an image .*truncated"),
    ],
)
def test_a_pair_that_cannot_be_read_is_named(tmp_path, damage, split, message):
    write_pair(tmp_path, "a", ids([0, 1, 2], [2, 1, 0]))
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.FolderDataset(tmp_path, split, classes=CLASSES)[0]


def test_images_of_any_common_kind_become_rgb_or_gray(tmp_path):
    dataset = folder(tmp_path, "a")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        write(tmp_path / "images" / "a.png", Image.new(mode, (3, 2)))
        assert dataset.read(0)[0].shape == (2, 3, 3)
    assert folder(tmp_path, "a", channels=1)[0][0].shape == (2, 3, 1)


def five_bands(root, stem, dtype="uint16", top=4095):
    """A TIFF file with five bands and its mask."""
    values = np.random.default_rng(len(stem)).integers(0, top + 1, (4, 6, 5)).astype(dtype)
    (root / "images").mkdir(exist_ok=True)
    tifffile.imwrite(root / "images" / f"{stem}.tif", values, photometric="minisblack", planarconfig="contig")
    write(root / "masks" / f"{stem}.png", (values[..., 0] % 3).astype("uint8"))
    return values


def test_images_have_any_number_of_bands_and_the_range_that_is_stated(tmp_path):
    values = five_bands(tmp_path, "a")
    pixels = data.Pixels(range=(0, 4095), bands=(5, 1, 2, 3, 4))
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, pixels=pixels)
    image, label = dataset[0]
    assert dataset.channels == 5 and image.dtype == np.float32
    np.testing.assert_allclose(image, values[..., [4, 0, 1, 2, 3]] * (255 / 4095), rtol=1e-5)
    assert (label == values[..., 0] % 3).all()
    assert dataset.size(0) == (4, 6)
    assert data.check(dataset).ok
    report = data.check(data.FolderDataset(tmp_path, classes=CLASSES))
    assert "a.tif: 5 bands where 3 are expected: choose bands" in report.problems[0]
    with pytest.raises(ValueError, match="channels=3, but there are 5 bands"):
        data.FolderDataset(tmp_path, classes=CLASSES, pixels=pixels, channels=3)


def test_what_is_doubtful_about_images_is_said_once_and_counted_by_check(tmp_path):
    for stem in ("a", "bb", "ccc"):
        five_bands(tmp_path, stem)
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, channels=5)
    with pytest.warns(UserWarning, match=r"a\.tif: values up to 4,095 .*Pixels\(range=\[0, 4095\]\)") as caught:
        images = [dataset[index][0] for index in range(3)]
    assert len(caught) == 1 and images[0].max() < 16
    report = data.check(dataset)
    assert report.ok
    assert [note.split(": ")[0] for note in report.notes] == ["3 images"]
    divided = Pairs([(np.full((2, 2, 3), 0.5, "float32"), np.zeros((2, 2), "uint8"))])
    assert "1 image: values from 0 to 1 are nearly black" in data.check(divided).notes[0]
    with pytest.warns(UserWarning, match="values from 0 to 1 are nearly black") as caught:
        assert divided[0][0].max() == divided[0][0].max() == 0.5
    assert len(caught) == 1
    rounded = Pairs([(np.array([[[0], [1]]] * 2, "uint8").repeat(3, 2), np.zeros((2, 2), "uint8"))])
    assert "1 image: 8-bit values of 0 and 1 are nearly black" in data.check(rounded).notes[0]


def test_images_of_8_bits_are_noted_where_they_become_black(tmp_path):
    for stem, top, dtype in (("a", 2, "uint8"), ("b", 255, "uint8"), ("c", 4096, "uint16")):
        write(tmp_path / "images" / f"{stem}.png", np.arange(4, dtype=dtype).reshape(2, 2) % 2 * (top - 1))
        write(tmp_path / "masks" / f"{stem}.png", ids([0, 1], [0, 1]))
    first = data.check(data.FolderDataset(tmp_path, classes=CLASSES))
    assert any("8-bit values of 0 and 1" in note and note.endswith("(a.png)") for note in first.notes)
    cured = data.check(data.FolderDataset(tmp_path, classes=CLASSES, pixels=data.Pixels(range=(0, 4095))))
    (note,) = (note for note in cured.notes if "of 8 bits dark" in note)
    assert note.endswith("(a.png, b.png)")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((2, 2, 3), 256, "float32"), "must have values from 0 to 255, got 256 to 256"),
        (np.full((2, 2, 3), np.nan), "must have values from 0 to 255, got nan to nan"),
        (np.full((2, 2, 3), 256, "uint16"), r"uint8 or float .*, got uint16 \(2, 2, 3\)"),
        (np.zeros((2, 2), "uint8"), r"\(H, W, C\), .*, got uint8 \(2, 2\)"),
        (np.zeros((2, 3, 3), "uint8"), r"the label is \(2, 2\) but the image is \(2, 3\)"),
    ],
)
def test_images_of_a_data_set_of_ones_own_are_checked(image, message):
    dataset = Pairs([(image, np.zeros((2, 2), "uint8"))])
    with pytest.raises(ValueError, match=message):
        dataset[0]
    assert re.search(message, data.check(dataset).problems[0])


@pytest.mark.parametrize("first", ["uint8", "uint16"])
def test_all_images_of_a_folder_have_the_type_of_the_first(tmp_path, first):
    values = {stem: five_bands(tmp_path, stem, dtype, np.iinfo(dtype).max)
              for stem, dtype in (("a", first), ("bb", "uint8"), ("ccc", "uint16"))}  # fmt: skip
    dataset = data.FolderDataset(tmp_path, classes=CLASSES, channels=5)
    said = pytest.warns(UserWarning, match=r"ccc\.tif: rounded to 8 bits like the first image")
    with said if first == "uint8" else contextlib.nullcontext():
        images = [dataset[index][0] for index in (2, 1, 0)]
    for index, image in zip((2, 1, 0), images, strict=True):
        exact = values[dataset.identifier(index)]
        assert image.dtype == (np.uint8 if first == "uint8" else np.float32)
        assert np.abs(image - (exact / 257 if exact.dtype == np.uint16 else exact)).max() <= 0.5


def test_images_above_the_limit_of_pillow_are_read_and_checked(tmp_path, monkeypatch):
    """Case 06: beyond 179 megapixels, Pillow's error ended `check` and training."""
    write_pair(tmp_path, "a", ids([0, 1, 2], [2, 1, 0]))
    monkeypatch.setattr("kseg.data.decoding.decoded.MAX_PIXELS", 5)
    write_pair(tmp_path, "b", ids([0, 1]))
    report = data.check(data.FolderDataset(tmp_path, classes=CLASSES))
    (problem,) = report.problems
    assert problem.startswith("3 x 2 pixels, more than 5: cut it") and problem.endswith("(2 files: a.png, a.png)")


def test_a_damaged_file_is_named_when_its_size_is_asked(tmp_path):
    """Case 07: Pillow reports a damaged EXIF block as a SyntaxError."""
    write_pair(tmp_path, "a", ids([0, 1]))
    path = tmp_path / "images" / "a.webp"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(path, exif=exif)
    path.write_bytes(path.read_bytes().replace(b"MM\0*", b"xx\0*"))
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.webp: not an image that can be read"):
        data.FolderDataset(tmp_path, classes=CLASSES).size(0)


class Labels(data.Dataset):
    """One image with a given label."""

    def __init__(self, *labels, classes=("background", "cell")):
        super().__init__("mine", classes)
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def read(self, index):
        return np.full((*np.shape(self.labels[index])[:2], 3), 100, np.uint8), self.labels[index]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float32", "bool"])
def test_labels_of_any_type_become_uint8(dtype):
    label = Labels(np.array([[0, 1]]).astype(dtype))[0][1]
    assert label.dtype == np.uint8 and label.tolist() == [[0, 1]]
    assert Labels(np.array([[0, 255.0]]))[0][1].tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, -1, -1], r"label values -1 \(2 pixels\) are outside the classes 0 to 1: .* label\[label == -1\] = 255"),
        ([0, 300, 2], r"label values 2 \(1 pixels\), 300 \(1 pixels\) are outside"),
        ([0, 0.5, np.nan], r"label values 0.5 \(1 pixels\), nan \(1 pixels\) are outside"),
    ],
)
def test_labels_outside_the_classes_are_named_and_counted(values, message):
    """Case 17: `check` reports what reading refuses."""
    dataset = Labels(np.array([values]))
    with pytest.raises(ValueError, match=f"mine 000000: {message}"):
        dataset[0]
    (problem,) = data.check(dataset).problems
    assert problem.startswith("mask values") and "return 255 for void from read" in problem
    with pytest.raises(ValueError, match=r"a label must be whole numbers \(H, W\), got float64 \(1, 3, 1\)"):
        Labels(np.zeros((1, 3, 1)))[0]


class Broken(Labels):
    def read(self, index):
        raise KeyError(index)


def test_a_check_reports_errors_of_any_type():
    (problem,) = data.check(Broken(None, None)).problems
    assert problem == "KeyError: 0 (2 files: 000000, 000001)"


@pytest.mark.parametrize("kind", ["U2", "O", "c8"])
def test_labels_that_are_no_numbers_are_refused_and_reported(kind):
    dataset = Labels(np.array([[0, 1]]).astype(kind))
    with pytest.raises(ValueError, match=r"mine 000000: a label must be whole numbers \(H, W\)"):
        dataset[0]
    assert "a label must be whole numbers (H, W)" in data.check(dataset).problems[0]


def test_255_as_the_only_foreground_of_a_data_set_of_ones_own_is_a_problem():
    for classes in (("background", "cell"), ("background", "cell", "edge")):
        dataset = Labels(np.array([[0, 0]]), np.array([[0, 255]]), classes=classes)
        (problem,) = data.check(dataset).problems
        assert problem.startswith("mine: labels contain 255, which means void, and no class above 0: if 255 is a class")
        dataset.marks_void = True
        assert data.check(dataset).ok
    assert data.check(Labels(np.array([[0, 1]]), np.array([[0, 255]]))).ok


def test_masks_of_a_folder_show_together_whether_255_is_void(tmp_path):
    for stem, label in (("a", [0, 1, 255]), ("b", [1, 1, 255]), ("c", [0, 255, 255])):
        write_pair(tmp_path, stem, ids(label))
    dataset = data.FolderDataset(tmp_path, classes=("background", "cell"))
    assert dataset[2][1].tolist() == [[0, 255, 255]]
    assert data.check(dataset).ok
    write_pair(tmp_path, "b", ids([255, 1, 255]))
    dataset = data.FolderDataset(tmp_path, classes=("background", "cell"))
    with pytest.raises(ValueError, match=r"c\.png: most pixels above class 0 are 255"):
        dataset[2]
    (problem,) = data.check(dataset).problems
    assert problem.startswith("2 masks (b.png, c.png): most pixels above class 0 are 255")
