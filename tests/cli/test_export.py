"""`kseg export`, and `kseg predict` with what it wrote."""

import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import download, export, inference, pretrained, zoo
from kseg.cli import _export
from tests.cli.command import kseg_command, refused

pytestmark = pytest.mark.usefixtures("numpy_initializers", "loaded_once")

BACKEND = keras.backend.backend()


def photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (32, 48, 3)).astype("uint8")


@pytest.fixture
def weights(save):
    return save(3, ["soil", "leaf", "spot"], [(10, 20, 30), (0, 255, 0), (200, 0, 0)])


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", BACKEND)


def test_a_run_folder_is_exported_and_predicts_what_its_weights_predict(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("run").mkdir()
    shutil.copy(weights, "run/best.safetensors")
    options = ["run", "--format", "onnx", "--labels", "--size", 32, 48]
    if BACKEND != "tensorflow":
        error = refused("export", *options)
        assert f"onnx takes no models of the backend {BACKEND}: set KERAS_BACKEND=tensorflow" in error
        return
    done = kseg_command("export", *options)
    assert done.exit_code == 0, done.output
    assert re.search(r"run\.onnx: \d+\.\d MB, run by ONNX Runtime\n(99\.9\d|100\.00)% of the labels", done.output)
    Image.fromarray(photo(0)).save("photo.png")
    masks = []
    for each in (weights, "run.onnx"):
        assert kseg_command("predict", "photo.png", "--weights", each, "-o", f"{tmp_path}/out").exit_code == 0
        masks.append(np.asarray(Image.open("out/masks/photo.png")))
    assert (masks[0] == masks[1]).mean() > 0.99
    for more, message in (
        (["--engine", "openvino"], "leave out engine=, precision= and calibration= (--engine, --int8)"),
        (["--tta"], "run.onnx gives labels only, which is too little for flip= and scales= (--tta): leave this out"),
        (["--crf"], "crf= (--crf): leave this out, or export the model without --labels"),
    ):
        assert message in refused("predict", "photo.png", "--weights", "run.onnx", *more)


def test_released_weights_are_exported_in_int8_and_scored(weights, tmp_path, monkeypatch, caplog):
    release = pretrained.Release(
        "tiny-small-leaves", "tiny", {"num_classes": 3, "encoder": "small"}, "model.safetensors",
        weights.stat().st_size, download.file_sha256(weights), 1, "leaves", ("soil", "leaf", "spot"),
        ((10, 20, 30), (0, 255, 0), (200, 0, 0)), 0.5, 0.5, "CC0-1.0", "0123456789ab",
    )  # fmt: skip
    monkeypatch.setitem(pretrained.RELEASES, release.name, release)
    monkeypatch.setenv("KSEG_HOME", str(tmp_path))
    place = tmp_path / "weights" / release.name / release.file
    place.parent.mkdir(parents=True)
    shutil.copy(weights, place)
    for index in range(8):
        Image.fromarray(photo(index)).save(tmp_path / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kseg.export.agreement.INT8", 2)  # so that any loss is worth the warning
    options = ["--format", "onnx", "--precision", "int8", "--calibrate", tmp_path, "--size", 32, 48, "--probabilities"]
    if BACKEND != "tensorflow":
        assert "set KERAS_BACKEND=tensorflow" in refused("export", release.name, *options)
        return
    done = kseg_command("export", release.name, *options)
    assert done.exit_code == 0, done.output
    assert "tiny-small-leaves.onnx: " in done.stdout
    assert "onnxruntime" not in caplog.text
    assert "warning: the mIoU of tiny-small-leaves.onnx is " in done.stderr
    assert inference.Exported("tiny-small-leaves.onnx").output == "probabilities"
    assert re.search(r"held out from the calibration: mIoU \d+\.\d\d against the labels of the Keras", done.stdout)


def test_mistakes_are_named_before_the_model_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda *arguments: pytest.fail("the model was read"))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    for options, message in (
        (["--format", "onnx", "--labels", "--probabilities"], "--labels and --probabilities end the graph"),
        (["--format", "onnx", "-o", "m.pb"], "must end in .onnx, got m.pb: use m.onnx"),
        (["--format", "saved_model", "--precision", "int8"], "saved_model takes the precision float32"),
        (
            ["--format", "onnx", "--precision", "int8"],
            "int8 needs typical images, which set the ranges of the integers: add --calibrate",
        ),
        (
            ["--format", "onnx", "--calibrate", "photos"],
            "--calibrate is for int8, got float32: leave it out, or add --precision int8",
        ),
        (["--format", "saved_model", "-o", tmp_path], "choose another name (-o)"),
        (["--format", "onnx", "-o", "."], "give -o a name, such as model.onnx"),
        (["--format", "onnx", "--precision", "int8", "--calibrate", tmp_path], "no images"),
        (["--format", "torch"], "torch takes no models of the backend tensorflow: set KERAS_BACKEND=torch"),
    ):
        assert message in refused("export", "unet-efficientnet_lite0-camvid", *options)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert "add --size HEIGHT WIDTH" in refused("export", "unet-efficientnet_lite0-camvid", "--format", "torch")


def test_the_default_name_is_that_of_the_model():
    for model, name in (
        ("runs/camvid-0.5", "camvid-0.5.onnx"),
        ("https://host/model.safetensors?download=true", "model.onnx"),
        ("hf://owner/name", "name.onnx"),
        ("m.h5", "m.onnx"),
    ):
        assert str(export.default_path(model, "onnx")) == name
    assert str(export.default_path("runs/camvid-0.5", "saved_model")) == "camvid-0_5_saved_model"


def test_arguments_in_messages_become_options():
    assert (
        _export._with_options("add size=, not tile_size=3 (path=)") == "add --size HEIGHT WIDTH, not tile_size=3 (-o)"
    )
