"""Exported models run where neither Keras nor a backend is installed."""

import json

import keras
import numpy as np
from PIL import Image

from kseg import export
from kseg.inference import Predictor
from tests.environment import Environment
from tests.export import brightness

CODE = """
import importlib.util, json, sys
assert not any(map(importlib.util.find_spec, ("keras", "tensorflow", "jax", "torch")))
import numpy as np
from kseg import cli, data, export, inference, metrics
image = np.asarray(json.loads(sys.argv[1]), "uint8")
for path in sys.argv[2:]:
    predictor = inference.Predictor(path, tile=32, flip=True, scales=(0.75, 1.0))
    found = predictor(image)
    print(path, found.sum(), metrics.scores(metrics.confusion_matrix(found, found, 2))["miou"])
    sys.argv = ["kseg", "predict", "photo.png", "--weights", path, "--out", path + "_out"]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def test_files_run_in_python_and_in_the_command(numpy_initializers, wheel, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype("uint8")
    Image.fromarray(values).save(tmp_path / "photo.png")
    bright, paths = brightness.network(), [brightness.write(tmp_path / "by_hand.onnx")]
    for format, name in (("openvino", "m.xml"), ("onnx", "m.onnx"), ("litert", "m.tflite")):
        if keras.backend.backend() in export.FORMATS[format].backends:
            paths.append(export.export(bright, tmp_path / name, format=format, size=(32, 32)).path)
    environment = Environment(tmp_path / "venv", [wheel], "kseg[export]", without="keras")
    printed = environment.run(tmp_path, CODE, json.dumps(values.tolist()), *map(str, paths))
    expected = Predictor(bright, tile=32, flip=True, scales=(0.75, 1.0))(values).sum()
    lines = [line.split() for line in printed.splitlines() if line.startswith(str(tmp_path))]
    assert [line[0] for line in lines] == list(map(str, paths))
    assert all(abs(int(line[1]) - expected) <= 2 for line in lines)
    for path in paths:
        (mask,) = (path.parent / f"{path.name}_out" / "masks").glob("*.png")
        assert (np.asarray(Image.open(mask)) == brightness.is_light(values)).mean() > 0.99
