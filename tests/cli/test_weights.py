"""`kseg weights`: the list, the files, and their verification."""

import errno
import os
import pathlib
import re

import pytest

from kseg import pretrained
from kseg.pretrained import source
from tests.cli.command import kseg_command, refused

NAME = "unet-efficientnet_lite0-camvid"
FILE = pathlib.Path(__file__).parents[2] / "zoo" / NAME / "model.safetensors"


def weights(*arguments, code=0):
    done = kseg_command("weights", *arguments)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine without a checkout; returns the path of the weights."""
    monkeypatch.setattr(source, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KSEG_WEIGHTS_URL", raising=False)
    return tmp_path / "home" / "weights" / NAME / "model.safetensors"


def test_the_list_has_one_line_per_name_and_marks_missing_files(request):
    head, *lines, note = weights("list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(pretrained.RELEASES)
    assert lines[0].split()[-1] == "yes" and head.split()[-1] == "here"
    assert "CC-BY-NC-4.0" in lines[0] and "NC forbid commercial use" in note
    request.getfixturevalue("elsewhere")
    assert weights("list").output.splitlines()[1].split()[-1] == "no"


def test_all_also_lists_the_checkpoints_of_others():
    released, others = weights("list", "--all").output.split("for kseg.zoo.load(name)")
    assert released.startswith(weights("list").output)
    for address, one in pretrained.PUBLISHED.items():
        (line,) = [line for line in others.splitlines() if line.split(" ")[0] == address]
        assert f" {one.builder} " in line and (one.commercial is not False or re.search(r" no  +NVIDIA", line))


def test_info_shows_all_facts():
    output = weights("info", NAME).output
    assert all(text in output for text in (pretrained.RELEASES[NAME].sha256, "sky, building", str(FILE)))


def test_get_prints_only_the_path(elsewhere, monkeypatch):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", FILE.parents[1].as_uri())
    assert weights("get", NAME).stdout == f"{elsewhere}\n"
    assert elsewhere.read_bytes() == FILE.read_bytes()


def test_verify_detects_damage(elsewhere):
    assert f"{NAME}: not on this machine" in weights("verify").output
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(FILE.read_bytes())
    assert "is whole" in weights("verify", NAME).output
    elsewhere.write_bytes(FILE.read_bytes()[:-1] + b"X")
    assert "damaged (another SHA-256)" in weights("verify", NAME, code=1).output
    elsewhere.write_bytes(b"")
    assert "damaged (0 bytes instead of" in weights("verify", NAME, code=1).output


@pytest.mark.parametrize("command", ["info", "get", "verify"])
def test_a_misspelled_name_is_one_line(command):
    error = refused("weights", command, "unet-efficientnet-camvid")
    assert error.startswith(f"error: no weights are called 'unet-efficientnet-camvid': did you mean {NAME}")


def test_unavailable_weights_are_one_line(elsewhere):
    assert str(elsewhere) in refused("weights", "get", NAME)


def test_a_full_disk_is_reported_once(elsewhere, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("KSEG_WEIGHTS_URL", FILE.parents[1].as_uri())
    monkeypatch.setattr(pathlib.Path, "mkdir", full)
    assert refused("weights", "get", NAME).count("the disk is full") == 1
