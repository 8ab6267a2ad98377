"""Data sets by name: streets always, those on disk if `KSEG_DATA` is set."""

import os

import numpy as np
import pytest

from kseg import data
from kseg.data import _camvid
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
        ("camvid", "train", {"root": "no/such"}, FileNotFoundError, "CamVid: there is no no.such"),
        ("nuclei", "train", {"root": "no/such"}, FileNotFoundError, "nuclei: there is no no.such"),
        ("nuclei", "train", {}, FileNotFoundError, "set KSEG_DATA"),
    ],
)
def test_what_cannot_be_opened_is_named(name, split, options, error, message, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_DATA", str(tmp_path))
    monkeypatch.setenv("KSEG_HOME", str(tmp_path))
    with pytest.raises(error, match=message):
        data.load(name, split, **options)
