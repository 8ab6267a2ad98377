"""A small builder for all commands, and its weight files."""

import functools

import keras
import pytest

from kseg import pretrained, zoo
from tests.training import tiny
from tests.training.conftest import builder  # noqa: F401, for all tests of this folder


@pytest.fixture(scope="module")
def loaded_once():
    """Loads each weight file once per module, since JAX compiles every model anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", functools.cache(zoo.load))
        yield


@pytest.fixture(scope="session")
def save(tmp_path_factory):
    """Writes a weight file of `tiny`, with or without class names."""

    def saved(channels, classes=(), palette=(), seed=0):
        keras.utils.set_random_seed(seed)
        path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
        return pretrained.save(tiny.tiny(channels), path, classes=classes, palette=palette)

    return saved
