"""Zip files, and files of all formats that are cut off."""

import io
import struct
import zipfile

import pytest
import torch

from kseg.checkpoints import reader
from tests.checkpoints.test_reader import refusal, save

GOOD = {"a": torch.arange(9.0), "b": torch.ones(2, 2)}


def members() -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(GOOD, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def pack(path, files, *, folder="archive/", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name if name.startswith(("/", "..", "\\")) else folder + name, content)
    return path


def test_a_file_packed_again_is_read(tmp_path):
    found = reader.read(pack(tmp_path / "weights.pth", members()))
    assert found["a"].tolist() == list(range(9)) and found["b"].shape == (2, 2)


def test_a_pickled_module_is_refused(tmp_path):
    path = save(torch.nn.Linear(2, 2), tmp_path / "weights.pth", "zip")
    assert "it asks for torch.nn.modules.linear.Linear: where it was saved, save the tensors" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({name: b""}, "leads outside") for name in ("/etc/a", "../a", "data/../../a", "..\\a", "a\\b")),
        ({"byteorder": b"big"}, "byte order is 'big'"),
        ({"data/0": b"1234"}, "storage '0' has 4 bytes where 36"),
        ({"data/0": None}, "storage '0' is missing"),
    ],
)
def test_an_archive_with_a_fault_is_refused(changes, message, tmp_path):
    files = {name: content for name, content in (members() | changes).items() if content is not None}
    assert message in refusal(pack(tmp_path / "weights.pth", files))


def test_a_compressed_archive_is_refused(tmp_path):
    files = {**members(), "data/9": bytes(10**6)}
    path = pack(tmp_path / "weights.pth", files, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    assert "compressed" in refusal(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    """A bomb of overlapping entries: the directory lists the same bytes many times."""
    path = pack(tmp_path / "weights.pth", {**members(), "data/bomb": bytes(5000)})
    with zipfile.ZipFile(path) as archive:
        start, count = archive.start_dir, len(archive.infolist())
    content = path.read_bytes()
    directory, tail = content[start : content.rindex(b"PK\5\6")], content[content.rindex(b"PK\5\6") :]
    last = directory[directory.rindex(b"PK\1\2") :]
    extra = b"".join(last.replace(b"data/bomb", b"data/b%03d" % i) for i in range(100))
    end = struct.pack("<4s4H2LH", tail[:4], 0, 0, count + 100, count + 100, len(directory + extra), start, 0)
    path.write_bytes(content[:start] + directory + extra + end)
    assert "larger than the file" in refusal(path)


def test_a_torchscript_program_is_named_as_such(tmp_path):
    names = ("constants.pkl", "code/__torch__.py")
    for name in names:
        path = pack(tmp_path / "script.pt", {**members(), name: b"N."}, compression=zipfile.ZIP_DEFLATED)
        assert "TorchScript program: in PyTorch, save its tensors, torch.save(torch.jit.load(FILE)" in refusal(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    assert "without data.pkl" in refusal(pack(tmp_path / "weights.pth", {"README.md": b"hello"}))
    with zipfile.ZipFile(tmp_path / "two.pth", "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/data.pkl{folder}", b"N.")
    assert "2 folders" in refusal(tmp_path / "two.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        for _ in range(2):
            archive.writestr("a/data.pkl", b"N.")
    assert "twice" in refusal(tmp_path / "weights.pth")


def test_a_flipped_byte_is_noticed(tmp_path):
    path = save(GOOD, tmp_path / "weights.pth", "zip")
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(9.0).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("kind", ["legacy", "zip", "safetensors"])
def test_every_truncation_is_reported(kind, tmp_path):
    content, cut = save(GOOD, tmp_path / "whole.pth", kind).read_bytes(), tmp_path / "cut.pth"
    for length in range(0, len(content), 11):
        cut.write_bytes(content[:length])
        refusal(cut)
