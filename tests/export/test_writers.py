"""Written files, read by their runtimes without kseg."""

import keras
import numpy as np
import pytest

from kseg import zoo
from kseg.export import write_onnx, write_openvino
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers")

BACKEND = keras.backend.backend()
REFUSED = {"tensorflow": (), "torch": (write_onnx,), "jax": (write_openvino, write_onnx)}[BACKEND]


@pytest.fixture(scope="module")
def model(numpy_initializers):
    return zoo.unet(3, **CHEAP["unet"])


def noise(*size):
    return np.random.default_rng(1).uniform(0, 255, (*size, 3)).astype("float32")


def openvino(path):
    from openvino import Core

    compiled = Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled({"image": images})["output"]


def onnx(path):
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["output"], {"image": images})[0]


@pytest.mark.parametrize(("write", "read", "suffix"), [(write_openvino, openvino, ".xml"), (write_onnx, onnx, ".onnx")])
def test_written_files_give_the_models_output(model, write, read, suffix, tmp_path, monkeypatch):
    if write in REFUSED:
        with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow"):
            write(model, tmp_path / f"m{suffix}", size=(40, 56))
        assert not list(tmp_path.iterdir())
        return
    if BACKEND == "tensorflow":  # graphs for any size
        path = write(model, tmp_path / f"any{suffix}")
        assert {each.stem for each in tmp_path.iterdir()} == {"any"}
        run = read(path)
        for size in ((1, 41, 50), (2, 64, 33)):
            expected = model.predict_on_batch(noise(*size))
            np.testing.assert_allclose(run(noise(*size)), expected, atol=1e-4 * np.abs(expected).max())
    run = read(write(model, str(tmp_path / f"fixed{suffix}"), output="labels", size=(40, 56)))
    assert (run(noise(1, 40, 56)) == model.predict_on_batch(noise(1, 40, 56)).argmax(-1)).mean() >= 0.999
    with pytest.raises(Exception, match="57"):
        run(noise(1, 40, 57))
    predict = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda images: predict(images) + 1)
    with pytest.raises(RuntimeError, match=r"(OpenVINO|ONNX Runtime) gives other scores than unet: they differ by \d"):
        write(model, tmp_path / f"wrong{suffix}", size=(40, 56))
    assert not list(tmp_path.glob("wrong*"))


def test_wrong_arguments_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.onnx, got .*m\.pb: .*m\.onnx"):
        write_onnx(model, tmp_path / "m.pb")
    with pytest.raises(ValueError, match="output must be one of scores, probabilities, labels, got 'ids'"):
        write_openvino(model, tmp_path / "m.xml", output="ids")
