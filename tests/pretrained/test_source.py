"""From a name to a model: from the checkout, the cache or a server, or an error with a cure."""

import dataclasses
import errno
import os
import pathlib
import re
import shutil
import sys

import keras
import numpy as np
import pytest

from kseg import download, pretrained, zoo
from tests.training import tiny


def put(file, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return shutil.copy(file, path)


def assert_same(one, two):
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", [0, 1])
def test_weights_on_this_machine_need_no_server(release, file, model, server, monkeypatch, place):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", server.url)
    put(file, pretrained.places(release)[place])
    loaded = zoo.load("tiny-small-leaves")
    assert_same(loaded, model)
    assert (loaded.classes, loaded.palette) == (release.classes, release.palette)
    assert server.asked == []


def test_weights_are_downloaded_once(release, model, server, monkeypatch):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", f"{server.url}/kseg/")
    for _ in range(2):
        assert_same(zoo.load("tiny-small-leaves"), model)
    assert server.asked == ["/kseg/tiny-small-leaves/model.safetensors"]


@pytest.mark.parametrize("between", [" ", ",", ", "])
def test_servers_are_tried_in_their_order(release, server, monkeypatch, between):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", f"http://127.0.0.1:9{between}{server.url}")
    assert pretrained.fetch(release).is_file()


def test_the_hub_serves_a_repository(release, server, monkeypatch):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", "hf://someone/models")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pretrained.fetch(release)
    assert server.asked == ["/someone/models/resolve/main/tiny-small-leaves/model.safetensors"]
    assert server.headers["Authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("written", [pathlib.Path.as_uri, str])
def test_a_folder_is_a_server_too(release, file, tmp_path, monkeypatch, written):
    put(file, tmp_path / "100%" / release.name / release.file)
    monkeypatch.setenv("KSEG_WEIGHTS_URL", written(tmp_path / "100%"))
    assert pretrained.fetch(release) == pretrained.places(release)[1]


def test_without_a_server_the_error_says_what_to_put_where(release):
    with pytest.raises(FileNotFoundError) as caught:
        zoo.load("tiny-small-leaves")
    message = str(caught.value)
    for fact in (f"{release.bytes:,} bytes", release.sha256, str(pretrained.places(release)[1]), "KSEG_WEIGHTS_URL"):
        assert fact in message
    assert "\n" not in message


def test_a_server_that_fails_is_named_and_so_is_the_way_without(release, server, monkeypatch):
    monkeypatch.setenv("KSEG_WEIGHTS_URL", server.url)
    server.status = 404
    with pytest.raises(download.TransferError, match=r"the server answered 404 .*without a download: put"):
        zoo.load("tiny-small-leaves")


@pytest.mark.parametrize(("number", "fault"), [(errno.ENOSPC, "the disk is full: "), (errno.EROFS, "cannot write to ")])
def test_a_cache_that_cannot_be_written_is_named_with_what_to_put_where(release, server, monkeypatch, number, fault):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("KSEG_WEIGHTS_URL", server.url)
    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(OSError, match=fault) as caught:
        zoo.load("tiny-small-leaves")
    message = str(caught.value)
    assert caught.value.errno == number and "\n" not in message
    for fact in ("set KSEG_HOME to another folder", f"{release.bytes:,} bytes", release.sha256):
        assert fact in message
    assert message.endswith(f"at {pathlib.Path('weights', release.name, release.file)} in KSEG_HOME")


def test_a_damaged_file_is_not_used(release, file, model, server, monkeypatch):
    place = pretrained.places(release)[1]
    put(file, place)
    place.write_bytes(place.read_bytes()[:-1] + b"X")
    with pytest.raises(FileNotFoundError, match=r"\(the file there is a different one: [\d,]+ bytes\)"):
        zoo.load("tiny-small-leaves")
    monkeypatch.setenv("KSEG_WEIGHTS_URL", server.url)
    assert_same(zoo.load("tiny-small-leaves"), model)


@pytest.mark.parametrize("name", ["leaves", "tiny-small-leaves"])
def test_a_builder_takes_names(release, file, model, name, tmp_path, monkeypatch):
    put(file, pretrained.places(release)[1])
    (tmp_path / "leaves").mkdir()  # a folder of that name, the data's perhaps, is not meant
    monkeypatch.chdir(tmp_path)
    assert_same(zoo.build("tiny", weights=name), model)


def test_a_data_set_without_weights_of_the_builder_is_named_with_those_there_are(release, file):
    with pytest.raises(ValueError, match="no weights of 'unet' on 'leaves' are released: there are tiny-small-leaves"):
        zoo.unet(weights="leaves")


def test_a_model_chooses_among_the_weights_of_a_data_set(release, another, file, model):
    put(file, pretrained.places(release)[1])
    assert_same(pretrained.load(tiny.tiny(3), "leaves"), model)
    with pytest.raises(ValueError, match="tiny-small-leaves does not fit 'tiny': encoder/conv/kernel"):
        pretrained.load(tiny.tiny(3, input_shape=(None, None, 4)), "leaves")
    with pytest.raises(ValueError, match=r"'leaves' is a data set: name the weights, of which there are tiny-small"):
        pretrained.load(keras.Model(model.input, model.output), "leaves")


def test_of_equal_weights_the_one_with_the_plain_name_is_chosen(release, file, model, monkeypatch):
    put(file, pretrained.places(release)[1])
    for name in ("tiny-small-leaves-seed5", "tiny-small-leaves-seed6"):
        monkeypatch.setitem(pretrained.RELEASES, name, dataclasses.replace(release, name=name))
    assert_same(zoo.build("tiny", weights="leaves"), model)
    monkeypatch.delitem(pretrained.RELEASES, release.name)
    message = "several weights of 'tiny' on 'leaves' are released: name one of tiny-small-leaves-seed5, tiny"
    for load in (lambda: zoo.build("tiny", weights="leaves"), lambda: pretrained.load(tiny.tiny(3), "leaves")):
        with pytest.raises(ValueError, match=message):
            load()


def test_a_user_without_a_home_needs_none_in_a_checkout(release, file, model, monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    place = put(file, pretrained.places(release)[0])
    monkeypatch.delenv("KSEG_HOME")
    monkeypatch.setattr(pathlib.Path, "expanduser", homeless)
    assert_same(zoo.load(release.name), model)
    place.unlink()
    with pytest.raises(FileNotFoundError, match=r"^there is no home folder for ~/\.cache/kseg: set KSEG_HOME to a"):
        zoo.load(release.name)


@pytest.mark.parametrize("way", ["name", "data set", "file"])
def test_weights_trained_with_another_option_raise_a_warning(release, file, way):
    """`activation` changes the output but no tensor."""
    path = put(file, pretrained.places(release)[1])
    weights = {"name": release.name, "data set": "leaves", "file": path}[way]
    message = rf"{weights} was trained with activation=None \(here 'softmax'\): .* with kseg.zoo.load$"
    with pytest.warns(UserWarning, match=message):
        zoo.build("tiny", weights=weights, activation="softmax")


def test_options_left_out_are_those_of_the_training(file, model, tmp_path):
    arguments = {"num_classes": 3, "encoder": "small", "activation": "softmax"}
    path = pretrained.save(model, tmp_path / "model.safetensors", builder="tiny", arguments=arguments)
    assert "softmax" in str(tiny.tiny(weights=path).get_config())  # warnings are errors here
    with pytest.warns(UserWarning, match=r"trained with activation='softmax' \(here None\)"):
        tiny.tiny(weights=path, activation=None)
    assert zoo.load(path).name == "tiny"


@zoo.builder
def layered(num_classes, *, units=4, relu=False, bias=True, weights=None):
    image = keras.Input((8, 8, 3))
    activation = "relu" if relu else None
    x = keras.layers.Conv2D(units, 1, activation=activation, use_bias=bias, name="units")(image)
    logits = keras.layers.Conv2D(num_classes, 1, name="head")(x)
    return keras.Model(image, logits, name="layered")


@pytest.fixture
def several(release, tmp_path, monkeypatch):
    """Released weights of one builder on the same data, by name."""

    def add(**trained):
        for name, options in trained.items():
            name = name.replace("_", "-")
            arguments = {"num_classes": 3, **options}
            net = layered(**arguments)
            path = tmp_path / f"{name}.safetensors"
            pretrained.save(net, path, builder="layered", arguments=arguments)
            facts = {"bytes": path.stat().st_size, "sha256": download.file_sha256(path)}
            facts |= {"parameters": net.count_params(), "arguments": arguments, "builder": "layered", "name": name}
            entry = dataclasses.replace(release, **facts)
            monkeypatch.setitem(pretrained.RELEASES, name, entry)
            put(path, pretrained.places(entry)[1])

    return add


def options_of(model):
    layer = model.get_layer("units")
    return layer.filters, layer.activation.__name__, layer.use_bias


def test_the_only_weights_of_a_data_set_need_no_options(several):
    """E.g. the default encoder of FCN is VGG16, and its released weights have another."""
    several(layered_wide_leaves={"units": 16, "relu": True, "bias": False})
    assert options_of(layered(weights="leaves")) == (16, "relu", False)
    with pytest.warns(UserWarning, match=r"layered-wide-leaves was trained with relu=True \(here False\): pass these"):
        assert options_of(layered(weights="leaves", relu=False)) == (16, "linear", False)
    with pytest.raises(ValueError, match="layered-wide-leaves does not fit 'layered'"):
        layered(weights="leaves", units=8)


def test_options_choose_among_the_weights_of_a_data_set(several):
    several(layered_leaves={}, layered_wide_leaves={"units": 16}, layered_wide_leaves_relu={"units": 16, "relu": True})
    assert options_of(layered(weights="leaves")) == (4, "linear", True)
    assert options_of(layered(weights="leaves", units=16)) == (16, "linear", True)
    assert options_of(layered(weights="leaves", units=16, relu=True)) == (16, "relu", True)
    assert options_of(layered(weights="leaves", relu=True)) == (16, "relu", True)
    assert options_of(layered(weights="layered-wide-leaves-relu")) == (16, "relu", True)


def test_the_error_for_an_unknown_name_lists_similar_names(release):
    with pytest.raises(ValueError, match=r"no weights are called 'leafs': did you mean leaves"):
        zoo.build("tiny", weights="leafs")
    with pytest.raises(ValueError, match=r"no weights are called 'tiny-smal-leaves': did you mean tiny-small-leaves"):
        zoo.load("tiny-smal-leaves")
    with pytest.raises(ValueError, match=r"no weights are called 'qqq': there are .*tiny-small-leaves$"):
        zoo.build("tiny", weights="qqq")
    with pytest.raises(
        ValueError, match=r"'leaves' is a data set: name the weights, of which there are tiny-small-lea"
    ):
        zoo.load("leaves")


def test_another_class_count_keeps_all_but_the_head_and_says_so(release, file, model):
    put(file, pretrained.places(release)[1])
    with pytest.warns(UserWarning, match="initialized randomly: head/conv$"):
        changed = zoo.load("tiny-small-leaves", num_classes=5)
    assert changed.output_shape[-1] == 5 and changed.classes == () == changed.palette
    for key, variable in pretrained.weight_keys(model).items():
        if not key.startswith("head/"):
            kept = pretrained.weight_keys(changed)[key]
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (kept, variable)))


def test_a_net_of_another_class_count_starts_from_released_weights(release, file):
    """As with `start` in a recipe: tensors that do not fit are initialized and listed."""
    put(file, pretrained.places(release)[1])
    for name in ("tiny-small-leaves", "leaves"):
        with pytest.warns(UserWarning, match=r"head/conv/kernel is \(1, 1, 16, 3\), expected \(1, 1, 16, 5\)"):
            pretrained.load(tiny.tiny(5), name, strict=False)


def test_an_address_is_a_model(model, server):
    for _ in range(2):
        assert_same(zoo.load(f"{server.url}/some/model.safetensors?download=true"), model)
    assert len(server.asked) == 1


def test_the_address_of_a_whole_model_is_answered_with_what_to_do(server):
    with pytest.raises(ValueError, match=r"m\.keras is a whole Keras model: download it, and load the file with kseg"):
        zoo.load(f"{server.url}/m.keras")
    assert server.asked == []


def test_an_address_of_something_else_is_not_kept(server):
    server.content = b"<html>sign in</html>"
    with pytest.raises(ValueError, match=r"http://\S+ is not a weight file of kseg and was not kept"):
        zoo.load(f"{server.url}/model.safetensors")
    assert not [path for path in download.home().rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["hf://someone", "hf://someone//model.safetensors"])
def test_an_incomplete_address_of_the_hub_is_named(url):
    with pytest.raises(ValueError, match=rf"^{re.escape(url)} is no address on the hub: write hf://owner/name"):
        zoo.load(url)


def test_a_missing_hub_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"^hf://\S+: huggingface_hub is missing \(.*\): pip install 'kseg\[hub\]'$"):
        zoo.load("hf://someone/models/model.safetensors")
