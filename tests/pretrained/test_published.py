"""The table of the checkpoints that others published."""

import re

import pytest

from benchmarks import pins
from kseg import encoders, pretrained, zoo
from kseg.pretrained import published


@pytest.mark.parametrize("one", pretrained.PUBLISHED.values(), ids=list(pretrained.PUBLISHED))
def test_an_entry_states_what_can_be_checked(one):
    assert one.builder in zoo.BUILDERS and one.encoder in encoders.ENCODERS
    assert one.classes > 1 and (one.miou is None or 0.2 < one.miou < 0.9)
    assert all(page is None or re.match(r"https://\S+$", page) for page in (one.source, one.license_source))
    assert (one.miou is None or one.source) and (one.license is None) <= (one.commercial is None)
    assert one.revision is None or re.fullmatch("[0-9a-f]{40}", one.revision)
    assert one.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", one.sha256)
    if one.address.startswith("torchvision/"):
        known = zoo.torchvision.PUBLISHED[one.address.removeprefix("torchvision/")]
        assert (one.builder, one.sha256) == (known.builder, known.sha256)
    else:
        assert pretrained.repository_named(one.address) == (one.address, None)


def test_every_checkpoint_of_torchvision_is_listed():
    listed = {address.removeprefix("torchvision/") for address in pretrained.PUBLISHED}
    assert zoo.torchvision.PUBLISHED.keys() <= listed


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own code
def test_commits_and_hashes_are_looked_up(hub, file, tmp_path):
    pretrained.push(file, "hf://someone/leaves", license="mit")
    hub.files["config.json"] = b"{}"
    one = pretrained.Published("someone/leaves", "unet", "resnet18", "leaves", 3, None, None, None, None, None)
    path = published.write({one.address: one}, tmp_path / "table.json")
    (found,) = pins.pin(path).values()
    assert (found.revision, len(found.sha256)) == (hub.commit, 64)
    assert published.read(path) == {one.address: found}
    del hub.files["model.safetensors"]
    assert pins.pin(path)[one.address].sha256 is None
    hub.files.clear()
    assert pins.pin(path)[one.address].revision is None
