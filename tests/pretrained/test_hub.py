"""Uploads to the hub, for which a server on this machine stands in."""

import errno
import json
import re
import shutil
import sys
import tomllib

import numpy as np
import pytest
import yaml
from PIL import Image

from kseg import pretrained, zoo
from tests.cli.command import kseg_command, refused

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own code


@pytest.fixture
def run(file, tmp_path):
    """The folder of a finished run on data in a folder of the user."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(file, folder / "best.safetensors")
    data = {"folder": "/home/someone/leaves", "size": None, "list": "someone/train.csv", "splits": "80/20"}
    (folder / "recipe.json").write_text(json.dumps({"data": data}))
    (folder / "result.json").write_text(json.dumps({"scores": {"miou": 0.51239, "pixel_accuracy": 0.9}}))
    return folder


def test_what_is_pushed_is_loaded_by_the_address_of_the_repository(hub, run, model, capsys, monkeypatch):
    done = kseg_command("weights", "push", run, "hf://someone/leaves", "--license", "CC0-1.0", "--private")
    assert done.exit_code == 0, done.output
    assert 'kseg.zoo.load("hf://someone/leaves")' in done.output and f"/commit/{1:040x}" in done.output
    assert (hub.made.get("private") or hub.made["visibility"] == "private") and hub.token == "Bearer hf_secret"
    assert hub.files.keys() == {"README.md", "model.safetensors", "recipe.toml", "metrics.json"}
    recipe = tomllib.loads(hub.files["recipe.toml"].decode())
    assert recipe == {"data": {"folder": "leaves", "list": "train.csv", "splits": "80/20"}}
    loaded = zoo.load("hf://someone/leaves")
    assert loaded.classes == ("soil", "leaf", "spot")
    assert capsys.readouterr().err == "someone/leaves has the license cc0-1.0\n"
    assert zoo.load("hf://someone/leaves").classes == loaded.classes and capsys.readouterr().err == ""
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for address in ("hf://someone/leaves/", "hf://someone/leaves/model.safetensors"):
        assert pretrained.locate(address).read_bytes() == (run / "best.safetensors").read_bytes()
    assert zoo.load("hf://someone/leaves").classes == loaded.classes
    assert "the hub cannot be reached, the version that was downloaded last is used" in capsys.readouterr().err


def test_a_second_upload_is_seen_and_the_first_is_left_at_its_revision(hub, run):
    pretrained.push(run, "hf://someone/leaves", license="mit")
    first, commit = pretrained.locate("hf://someone/leaves").read_bytes(), hub.commit
    changed = zoo.load(run)
    changed.set_weights([weight + 1 for weight in changed.get_weights()])
    pretrained.save(changed, run / "best.safetensors")
    Image.new("RGB", (4, 4)).save(run / "predictions.png")
    pretrained.push(run, "hf://someone/leaves", license="mit", pictures=True)
    second = pretrained.locate("hf://someone/leaves").read_bytes()
    assert second == (run / "best.safetensors").read_bytes() != first
    assert "predictions.png" in hub.files
    hub.commits = 1
    assert pretrained.locate(f"hf://someone/leaves@{commit}").read_bytes() == first


def test_a_file_with_another_hash_than_the_hub_announces_is_not_kept(hub, file, tmp_path):
    pretrained.push(file, "hf://someone/leaves", license="mit")
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"x"
    with pytest.raises(OSError, match=r"SHA-256 of model\.safetensors is not the one that the hub announces"):
        zoo.load("hf://someone/leaves")
    assert not list(tmp_path.glob("hub/**/model.safetensors"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://someone/none", "is no repository on the hub that you may read: check the name, or log in"),
        ("hf://someone/leaves@v2", "the repository has no branch, tag or commit v2"),
        ("hf://someone/leaves", "has no file model.safetensors"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, address, message):
    with pytest.raises(FileNotFoundError, match=f"^{address}:? {message}"):
        zoo.load(address)


def test_other_files_of_the_hub_are_not_opened_by_keras(hub):
    hub.files["notes.safetensors"] = b"<html>"
    for file, message in (
        ("model.h5", "is a whole Keras model: download it"),
        ("notes.safetensors", "is not a weight"),
    ):
        with pytest.raises(ValueError, match=f"^hf://someone/leaves/{file} {message}"):
            zoo.load(f"hf://someone/leaves/{file}")


def test_a_full_disk_is_named(hub, file, monkeypatch):
    pretrained.push(file, "hf://someone/leaves", license="mit")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(OSError, match=r"cannot be kept \(No space left on device\): set HF_HOME to another folder"):
        zoo.load("hf://someone/leaves")


def test_an_unknown_hub_out_of_reach_is_an_error(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"^hf://someone/leaves: the hub cannot be reached \(.+\): try again$"):
        zoo.load("hf://someone/leaves")


def test_the_card_has_the_metadata_of_the_hub(hub, run):
    pretrained.push(run, "hf://someone/leaves/", license="CC0-1.0")
    head, text = re.fullmatch(r"---\n(.*?)---\n(.*)", hub.files["README.md"].decode(), flags=re.S).groups()
    metadata = yaml.safe_load(head)
    assert (metadata["license"], metadata["library_name"]) == ("cc0-1.0", "keras")
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["type"] == "leaves" and result["metrics"][0] == {"type": "mean_iou", "value": 0.5124}
    assert 'kseg.zoo.load("hf://someone/leaves")' in text and "soil, leaf, spot" in text


def test_a_weight_file_alone_is_pushed_without_scores(hub, file):
    pretrained.push(file, "hf://someone/leaves", license="mit")
    assert hub.files.keys() == {"README.md", "model.safetensors"} and b"model-index" not in hub.files["README.md"]


def test_errors_name_their_cure(hub, run, file, monkeypatch, tmp_path):
    end = ("--license", "mit")
    assert "write hf://owner/name" in refused("weights", "push", run, "someone/leaves", *end)
    assert "no weight file" in refused("weights", "push", tmp_path / "none", "hf://someone/leaves", *end)
    assert "leave out --pictures" in refused("weights", "push", run, "hf://someone/leaves", *end, "--pictures")
    assert "write hf://someone/leaves" in refused("weights", "push", run, "hf://someone/leaves@v2", *end)
    hub.private = False
    assert "is public: make it" in refused("weights", "push", run, "hf://someone/leaves", *end, "--private")
    assert not hub.files
    hub.refuses = 403
    assert "hf auth login" in refused("weights", "push", run, "hf://someone/leaves", *end)
    hub.refuses = 413
    message = refused("weights", "push", run, "hf://someone/leaves", *end)
    assert "log in" not in message and message.endswith("repeat the command\n")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'kseg[hub]'" in refused("weights", "push", run, "hf://someone/leaves", *end)
