"""`kseg export`, and `kseg predict` with what it wrote."""

import re

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import zoo
from kseg.cli import _export
from tests.cli.command import kseg_command, refused

pytestmark = pytest.mark.usefixtures("numpy_initializers", "loaded_once")

BACKEND = keras.backend.backend()


@pytest.fixture
def weights(save):
    return save(3, ["soil", "leaf", "spot"], [(10, 20, 30), (0, 255, 0), (200, 0, 0)])


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", BACKEND)


def test_an_exported_file_predicts_what_the_weights_predict(weights, tmp_path):
    if BACKEND != "tensorflow":
        error = refused("export", weights, "--format", "onnx", "-o", tmp_path / "m.onnx")
        assert f"onnx takes no models of the backend {BACKEND}: set KERAS_BACKEND=tensorflow" in error
        return
    file = tmp_path / "m.onnx"
    done = kseg_command("export", weights, "--format", "onnx", "--labels", "--size", 32, 48, "-o", file)
    assert done.exit_code == 0, done.output
    assert re.search(r"m\.onnx: \d+\.\d MB, run by ONNX Runtime\n(99\.9\d|100\.00)% of the labels", done.output)
    values = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype("uint8")
    Image.fromarray(values).save(tmp_path / "photo.png")
    for each in (weights, file):
        out = tmp_path / each.name
        assert kseg_command("predict", tmp_path / "photo.png", "--weights", each, "-o", f"{out}_out").exit_code == 0
    masks = [np.asarray(Image.open(f"{tmp_path / each.name}_out/masks/photo.png")) for each in (weights, file)]
    assert (masks[0] == masks[1]).mean() > 0.99
    assert "leave engine, precision and calibration out" in refused(
        "predict", tmp_path / "photo.png", "--weights", file, "--engine", "openvino"
    )


def test_mistakes_are_named_before_the_model_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda *arguments: pytest.fail("the model was read"))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    for options, message in (
        (["--format", "onnx", "--labels", "--probabilities"], "--labels and --probabilities end the graph"),
        (["--format", "onnx", "-o", "m.pb"], "must end in .onnx, got m.pb: use m.onnx"),
        (["--format", "saved_model", "--precision", "int8"], "saved_model takes the precision float32"),
        (["--format", "onnx", "--precision", "int8"], "need each other (--calibrate)"),
        (["--format", "onnx", "--precision", "int8", "--calibrate", tmp_path], "no images"),
        (["--format", "torch"], "torch takes no models of the backend tensorflow: set KERAS_BACKEND=torch"),
    ):
        assert message in refused("export", "unet-efficientnet_lite0-camvid", *options)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert "(--size HEIGHT WIDTH)" in refused("export", "unet-efficientnet_lite0-camvid", "--format", "torch")


def test_the_default_name_is_that_of_the_model():
    names = ("runs/camvid", "a/best.safetensors", "hf://owner/name", "unet-efficientnet_lite0-camvid", "m.keras")
    assert list(map(_export._stem, names)) == ["camvid", "best", "name", "unet-efficientnet_lite0-camvid", "m"]
