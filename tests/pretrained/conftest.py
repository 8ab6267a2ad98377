import dataclasses

import pytest
from huggingface_hub import constants

from kseg import download, pretrained, zoo
from kseg.pretrained import source
from tests.download.server import Server
from tests.pretrained.stand_in import Hub
from tests.training import tiny

CLASSES, PALETTE = ("soil", "leaf", "spot"), ((0, 0, 0), (0, 160, 0), (200, 60, 0))


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine without a checkout or a package of weights, with an empty cache and no server."""
    monkeypatch.setattr(source, "PACKAGES", "kseg.no_weights")
    monkeypatch.setattr(source, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("KSEG_WEIGHTS_URL", raising=False)
    monkeypatch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)


@pytest.fixture(scope="session")
def model():
    return tiny.tiny(3)


@pytest.fixture(scope="session")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "model.safetensors"
    arguments = {"num_classes": 3, "encoder": "small"}
    return pretrained.save(model, path, builder="tiny", arguments=arguments, classes=CLASSES, palette=PALETTE)


@pytest.fixture
def release(model, file, monkeypatch):
    """Weights called tiny-small-leaves, in the table."""
    entry = pretrained.Release(
        name="tiny-small-leaves",
        builder="tiny",
        arguments={"num_classes": 3, "encoder": "small"},
        file="model.safetensors",
        bytes=file.stat().st_size,
        sha256=download.file_sha256(file),
        parameters=model.count_params(),
        dataset="leaves",
        classes=CLASSES,
        palette=PALETTE,
        miou=0.5,
        pixel_accuracy=0.75,
        license="CC0-1.0",
        recipe="0123456789ab",
    )
    monkeypatch.setitem(pretrained.RELEASES, entry.name, entry)
    return entry


@pytest.fixture
def another(release, monkeypatch):
    """Larger weights of the same builder on the same data."""
    arguments = {**release.arguments, "encoder": "large"}
    entry = dataclasses.replace(release, name="tiny-large-leaves", arguments=arguments)
    monkeypatch.setitem(pretrained.RELEASES, entry.name, entry)
    return entry


@pytest.fixture
def server(file):
    running = Server(file.read_bytes())
    yield running
    running.close()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    running = Hub()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in has Git LFS only
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield running
    running.close()
