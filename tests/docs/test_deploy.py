"""The scripts of docs/deploy.md, run as they are, without kseg."""

import pathlib
import re

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import export
from tests.export import brightness

TEXT = (pathlib.Path(__file__).parents[2] / "docs/deploy.md").read_text("utf-8")
SCRIPTS = dict(re.findall(r"## With ([^\n]+)\n\n(?:<!-- test: .*? -->\n)*```python\n(.*?)```", TEXT, re.DOTALL))
FILES = {
    "OpenVINO": ("openvino", "model.xml"),
    "ONNX Runtime": ("onnx", "model.onnx"),
    "LiteRT": ("litert", "model.tflite"),
}


@pytest.mark.parametrize("title", FILES)
def test_a_script_writes_the_mask(title, numpy_initializers, tmp_path, monkeypatch):
    script = SCRIPTS[title]
    lines = [line for line in script.splitlines() if line]
    assert "import kseg" not in script and "from kseg" not in script
    assert len(lines) <= (15 if title == "LiteRT" else 10)
    format, name = FILES[title]
    if keras.backend.backend() not in export.FORMATS[format].backends:
        compile(script, title, "exec")  # the file cannot be written on this backend
        return
    export.export(brightness.network(), tmp_path / name, format=format, size=(32, 40), output="labels")
    rows = np.repeat(np.arange(32)[:, None] * 8, 40, axis=1)
    Image.fromarray(np.stack([rows] * 3, axis=-1).astype("uint8")).save(tmp_path / "photo.jpg", quality=100)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, title, "exec"), {})
    mask = Image.open(tmp_path / "mask.png")
    assert (np.asarray(mask) == (rows > 128)).mean() > 0.95
    assert mask.getpalette()[:6] == [0, 0, 0, 255, 255, 0]
