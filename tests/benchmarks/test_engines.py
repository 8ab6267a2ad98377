"""The measurements of the service, of exported files and of int8, on small images."""

import contextlib

import httpx
import keras
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import experiments, tables
from benchmarks.commands import app
from benchmarks.experiments import (
    _hostile,
    export,
    int8,
    serve,
)
from kseg import data


def test_what_int8_loses_is_scored(monkeypatch):
    """A model that is right everywhere is compared with files that give class 0 everywhere."""
    streets, made = data.streets("val", count=2, size=(32, 40)), []

    def predictor(model):
        labels = {image.tobytes(): label for image, label in (streets[0], streets[1])}
        return lambda image: labels[image.tobytes()] * (model == "model")

    monkeypatch.setattr(int8, "Predictor", predictor)
    monkeypatch.setattr(int8.export, "export", lambda model, path, **options: made.append((path.name, options)))
    table = int8.compare("model", streets, "training images")
    pixels = np.bincount(np.concatenate([streets[index][1].ravel() for index in range(2)]), minlength=256)[:255]
    share = pixels[0] / pixels.sum()
    miou = share / np.count_nonzero(pixels)
    assert table["way"].tolist() == ["Keras, float32", "OpenVINO, int8", "ONNX Runtime, int8", "LiteRT, int8"]
    np.testing.assert_allclose(table[["miou", "pixel_accuracy"]], [[1, 1], *[[miou, share]] * 3], atol=1e-5)
    np.testing.assert_allclose(table["lost_points"], [0, *[100 * (1 - miou)] * 3], atol=1e-3)
    assert [name for name, _ in made] == ["model.xml", "model.onnx", "model.tflite"]
    assert all(options["precision"] == "int8" and options["calibration"] == "training images" for _, options in made)
    lost = int8.shown(table.assign(weights_sha256="a"))["points lost"].tolist()
    assert lost == ["0.00", *[f"{100 * (1 - miou):.2f}"] * 3]


def test_a_service_is_timed_beside_direct_calls_and_attacked(tmp_path, monkeypatch):
    image = keras.Input((None, None, 3))
    path = tmp_path / "model.keras"
    keras.Model(image, keras.layers.Conv2D(3, 1)(image)).save(path)
    monkeypatch.setattr(serve, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(serve, "SETTLING", 1)
    monkeypatch.setattr(serve, "MOST_GROWTH", 1000)  # libraries have not seen all kinds of files yet
    monkeypatch.setattr(serve, "STALLED", 8)  # fewer than block the service for ten seconds
    table = serve.measure(weights=str(path), engine="keras", size=(32, 48), requests=32, hostile=30)
    assert table["what"].tolist() == ["called directly", "1 client", "8 clients", "32 clients", "hostile uploads"]
    times = table[["per_second", "p50_ms", "p99_ms"]][:4]
    assert (times > 0).all(axis=None) and (table["p99_ms"] >= table["p50_ms"])[:4].all()
    statuses = dict(part.split(":") for part in table["statuses"][4].split())
    assert sum(map(int, statuses.values())) == 60 and not any(status.startswith("5") for status in statuses)
    assert tables.markdown(serve.shown(table)).count("\n") == 7


@pytest.mark.parametrize(
    "place, text, memory, message",
    [
        (2, "503", [2**20, 4 * 2**20], None),
        (1, "500", [0, 0], "got status 500"),
        (3, "", [0, 0], "got no answer"),
        (4, "bad 422", [2**20, 10 * 2**20], "grew by 9 MB, more than 8 MB"),
        (5, "other 200", [0, 0], "answers an image differently"),
    ],
)
def test_an_attack_fails_where_the_service_does(monkeypatch, place, text, memory, message):
    answers = ["mask 200", *["bad 422"] * 4, "mask 200"]  # to an image, hostile uploads, and the image
    large = _hostile.photo(np.random.default_rng(0), "JPEG", serve.LARGE)
    answers[place] = text

    def post(address, content, timeout):
        if content == large:
            return httpx.Response(200, request=httpx.Request("POST", address))
        if not (answer := answers.pop(0)):
            raise httpx.ReadError("closed")
        return httpx.Response(int(answer.split()[-1]), text=answer, request=httpx.Request("POST", address))

    monkeypatch.setattr(httpx, "post", post)
    monkeypatch.setattr(serve, "stall", lambda address: None)
    monkeypatch.setattr(serve, "_resident", lambda pid: memory.pop(0))
    monkeypatch.setattr(serve, "SETTLING", 1)
    monkeypatch.setattr(serve, "SENDERS", 1)
    with pytest.raises(RuntimeError, match=message) if message else contextlib.nullcontext():
        assert serve.attack(1, "http://x/", b"image", 2)["statuses"] == "422:3 503:1"


def test_a_cell_of_the_table_of_exports_is_a_figure_or_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "apart", lambda function, *arguments: function(*arguments))
    out = tmp_path / "export.csv"
    options = ["--builder", "full_resolution", "--format", "onnx", "--size", "32", "40", "--out", str(out)]
    run = CliRunner().invoke(app, ["export", *options])
    assert run.exit_code == 0, run.output
    assert CliRunner().invoke(app, ["export", *options]).exit_code == 0  # replaces the rows
    rows = experiments.read(out)
    assert rows[["builder", "format", "size"]].to_numpy().tolist() == [
        ["full_resolution", "onnx", size] for size in ("32x40", "any")
    ]
    if keras.backend.backend() == "tensorflow":
        assert (rows["labels"] >= 0.999).all()
    else:
        assert rows["reason"].str.contains("set KERAS_BACKEND=tensorflow").all()
    fcn8 = {"builder": "fcn8", "format": "torch", "backend": "torch"}
    more = [
        fcn8 | {"size": "32x40", "labels": 0.9995},
        fcn8 | {"size": "any", "reason": "torch cannot hold fcn8"},
        fcn8 | {"size": "any", "reason": "torch takes no models of jax", "backend": "jax"},
    ]
    table = export.shown(pd.concat([rows.assign(backend="tensorflow", labels=1.0), pd.DataFrame(more)]))
    assert table.to_numpy().tolist() == [
        ["fcn8", "32x40", "not measured", "99.95 %"],
        ["fcn8", "any", "not measured", "(1)"],
        ["full_resolution", "32x40", "100.00 %", "not measured"],
        ["full_resolution", "any", "100.00 %", "not measured"],
    ]
    notes = ["(1) the format cannot hold the network", "torch on jax: the format takes no models of jax"]
    assert table.attrs["notes"] == notes
    assert tables.markdown(table).endswith(f"measured |\n\n- {notes[0]}\n- {notes[1]}\n")
