"""Data sets by name: streets always, those on disk if `KSEG_DATA` is set."""

import os
import time

import numpy as np
import pytest

from kseg import data
from kseg.data import _camvid
from kseg.data.scene import with_void
from kseg.download import folder_sha256

SIZES = {"streets": (240, 40, 60), "camvid": (367, 101, 233), "nuclei": (447, 75, 142)}
HERE = [*(["camvid", "nuclei"] if os.environ.get("KSEG_DATA") else []), "streets"]
SPLITS = ("train", "val", "test")


@pytest.mark.parametrize("name", HERE)
def test_splits_have_their_published_sizes_and_share_no_image(name):
    splits = [data.load(name, split) for split in SPLITS]
    assert tuple(len(dataset) for dataset in splits) == SIZES[name]
    names = [dataset.identifier(index) for dataset in splits for index in range(len(dataset))]
    assert len(set(names)) == sum(SIZES[name])
    assert splits[0].num_classes == {"camvid": 11, "nuclei": 1, "streets": 8}[name]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("split", SPLITS)
def test_pairs_keep_the_contract(name, split):
    dataset = data.load(name, split)
    for index in range(0, len(dataset), len(dataset) // 4):
        image, label = dataset[index]
        assert (image.dtype, label.dtype) == (np.uint8, np.uint8)
        assert image.shape == (*label.shape, 3)
        assert label.shape == dataset.size(index)
        assert set(np.unique(label)) <= {*range(len(dataset.classes)), 255}
        assert image.std() > 5


@pytest.mark.parametrize("name", HERE)
def test_a_check_finds_no_problem(name):
    report = data.check(data.load(name, "val"))
    assert report.ok, report
    assert all(report.occurrences)
    if name == "camvid":
        assert 1 - sum(report.pixels) / (101 * 360 * 480) == pytest.approx(0.017, abs=5e-4)  # void, as published
        assert folder_sha256(data.load(name, "val").root) == _camvid.SHA256  # the SHA-256 of a downloaded copy


@pytest.mark.parametrize(
    ("name", "split", "options", "error", "message"),
    [
        ("camvit", "train", {}, ValueError, "unknown data set 'camvit'; did you mean 'camvid'"),
        ("camvid", "valid", {}, ValueError, "unknown split 'valid'; there are train, val, test"),
        ("streets", "valid", {}, ValueError, "unknown split 'valid'; there are train, val, test"),
        ("streets", "train", {"sise": (64, 64)}, TypeError, "sise"),
        ("streets", "train", {"size": (16, 64)}, ValueError, "both 32 or more"),
        ("camvid", "train", {"root": "no/such"}, FileNotFoundError, "CamVid: there is no no.such"),
        ("nuclei", "train", {"root": "no/such"}, FileNotFoundError, "nuclei: there is no no.such"),
        ("nuclei", "train", {}, FileNotFoundError, "set KSEG_DATA"),
    ],
)
def test_the_error_names_the_argument_or_folder_that_is_wrong(
    name, split, options, error, message, tmp_path, monkeypatch
):
    monkeypatch.setenv("KSEG_DATA", str(tmp_path))
    monkeypatch.setenv("KSEG_HOME", str(tmp_path))
    with pytest.raises(error, match=message):
        data.load(name, split, **options)


def test_a_scene_depends_on_split_and_index_alone():
    first, again = data.streets("train"), data.streets("train", count=5)
    later = first[4]
    for index in (0, 4):
        assert all((one == other).all() for one, other in zip(first[index], again[index], strict=True))
    assert (later[0] == data.streets("train")[4][0]).all()
    assert (first[0][0] != data.streets("val")[0][0]).any()
    assert (first[0][0] != first[1][0]).any()


def test_all_classes_are_drawn_and_void_is_thin():
    dataset = data.streets("val")
    labels = np.stack([dataset[index][1] for index in range(len(dataset))])
    share = np.bincount(labels.reshape(-1), minlength=256) / labels.size
    assert (share[:8] > 0.01).all()
    assert 0.02 < share[255] < 0.10
    assert share[8:255].sum() == 0


@pytest.mark.parametrize("size", [(32, 32), (65, 97), (240, 320)])
def test_scenes_have_any_size(size):
    dataset = data.streets("test", size=size)
    image, label = dataset[0]
    assert image.shape == (*size, 3)
    assert label.shape == size == dataset.size(0)


def test_void_takes_from_the_thing_behind():
    label = np.array([[0, 0, 6, 6, 0, 0]], np.uint8)  # a pole two pixels wide in front of the sky
    assert with_void(label).tolist() == [[0, 255, 6, 6, 255, 0]]
    assert with_void(np.array([[0, 0, 0], [1, 1, 1]], np.uint8)).tolist() == [[255] * 3, [1, 1, 1]]


def test_drawing_is_fast():
    dataset = data.streets("train")
    dataset.read(0)
    seconds = []
    for index in range(30):
        start = time.thread_time()  # other processes do not count
        dataset.read(index)
        seconds.append(time.thread_time() - start)
    assert np.quantile(seconds, 0.25) < 0.010, "about 4 ms on an idle machine"
