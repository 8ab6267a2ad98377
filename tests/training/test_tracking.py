"""Callbacks of one's own, TensorBoard, Weights & Biases and MLflow."""

import contextlib
import csv
import importlib.util
import io
import struct
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image

from kseg.training import Recipe, tracking, train
from tests.training import tiny


class Recorder(keras.callbacks.Callback):
    """Keeps the logs of each epoch."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


def trackers(monkeypatch):
    """Modules in place of wandb and mlflow, which record what is called."""
    calls = []

    def record(name):
        return lambda *given, **options: calls.append((name, given, options))

    run = types.SimpleNamespace(log=record("wandb.log"), finish=record("wandb.finish"))
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **options: calls.append(("wandb.init", (), options)) or run
    wandb.Image = lambda picture: picture
    loggers = {"wandb.integration.keras": "WandbMetricsLogger", "mlflow.keras": "MlflowCallback"}
    for name, callback in loggers.items():
        module = types.ModuleType(name)
        setattr(module, callback, Recorder)
        monkeypatch.setitem(sys.modules, name, module)
    mlflow = types.ModuleType("mlflow")
    for name in ("set_tracking_uri", "set_experiment", "log_dict", "log_image"):
        setattr(mlflow, name, record(f"mlflow.{name}"))

    @contextlib.contextmanager
    def start_run(**options):
        calls.append(("mlflow.start_run", (), options))
        yield
        calls.append(("mlflow.end_run", (), {}))

    mlflow.start_run = start_run
    for name, module in {
        "wandb": wandb, "wandb.integration": types.ModuleType("wandb.integration"), "mlflow": mlflow
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def events(folder):
    """Reads the records of an event file as TensorBoard defines them: length, checksum, data, checksum."""
    from tensorboard.compat.proto.event_pb2 import Event

    (file,) = folder.glob("events.out.tfevents.*")
    content, place = file.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length


def test_callbacks_and_trackers_get_the_scores_and_pictures(tmp_path, monkeypatch, capsys):
    calls, own = trackers(monkeypatch), Recorder()
    tracking = {
        "tensorboard": True,
        "wandb": {"project": "roads", "config": {"epochs": 3, "place": "lab"}},
        "mlflow": {"experiment": "roads", "tracking_uri": "file:x"},
        "images": 2,
    }
    content = tiny.content(epochs=2, selection={"every": 2}, tracking=tracking)
    result = train(Recipe.from_dict(content), tmp_path, callbacks=[own])
    assert result["finished"]
    first, second = own.logs
    assert first.keys() == {"loss", "learning_rate"}
    assert second.keys() > {"loss", "learning_rate", "val_loss", "val_miou", "val_pixel_accuracy"}
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["val_loss"]) == second["val_loss"] == result["scores"]["loss"]

    version, *records = events(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2"
    assert [record.step for record in records] == [1, 2]
    *scalars, picture = records[1].summary.value
    assert {value.tag: value.simple_value for value in scalars} == pytest.approx(second)
    with Image.open(io.BytesIO(picture.image.encoded_image_string)) as drawn:
        assert picture.tag == "predictions" and drawn.size == (picture.image.width, picture.image.height)

    named = {}
    for name, given, options in calls:
        named.setdefault(name, []).append((given, options))
    (_, init), (_, finish) = named["wandb.init"][0], named["wandb.finish"][0]
    assert init["project"] == "roads" and init["resume"] == "allow"
    assert (init["config"]["epochs"], init["config"]["place"]) == (3, "lab")
    assert finish == {"exit_code": 0}
    ((logged,), options) = named["wandb.log"][0]
    assert logged["predictions"].dtype == np.uint8 and options == {"commit": False}
    assert named["mlflow.set_experiment"][0][0] == ("roads",)
    assert [call for call in named if call.startswith("mlflow")][-1] == "mlflow.end_run"
    assert named["mlflow.log_image"][0][1] == {"artifact_file": "predictions/0002.png"}

    output = capsys.readouterr().out
    assert "10 images for training, 10 for validation, 2 steps per epoch" in output
    assert ("the first step compiles the model" in output) == (keras.backend.backend() != "torch")
    assert "val loss" in output


@pytest.mark.parametrize(("key", "value"), [("tensorboard", True), ("wandb", {}), ("mlflow", {})])
def test_a_tracker_that_is_not_installed_is_named(tmp_path, monkeypatch, key, value):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == key else find(name, *more))
    monkeypatch.setitem(sys.modules, key, None)
    with pytest.raises(ModuleNotFoundError, match=rf"\[tracking\] {key} needs {key}: pip install {key}, or leave"):
        train(Recipe.from_dict(tiny.content(tracking={key: value})), tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(("key", "start"), [("wandb", "init"), ("mlflow", "start_run")])
def test_a_tracker_that_cannot_start_is_one_line(tmp_path, monkeypatch, key, start):
    trackers(monkeypatch)
    monkeypatch.setattr(sys.modules[key], start, lambda *, config=None, tags=None: None)
    with (
        pytest.raises(ValueError, match=rf"\[tracking\] {key} cannot start: .* argument '\w+'; change its options"),
        tracking.trackers(Recipe.from_dict(tiny.content(tracking={key: {"nme": "a"}})), tmp_path, lambda epoch: None),
    ):
        pass


def test_tracking_is_no_part_of_what_a_run_is():
    plain, tracked = (Recipe.from_dict(tiny.content(**change)) for change in ({}, {"tracking": {"wandb": {}}}))
    assert plain.hash() == tracked.hash()
    assert plain.differences(tracked) == []
    assert "tracking" not in plain.to_json()
    assert Recipe.model_validate_json(tracked.to_json()) == tracked


def test_a_callback_may_stop_the_run_which_continues_later(tmp_path):
    stop = keras.callbacks.LambdaCallback()
    stop.on_epoch_end = lambda epoch, logs=None: setattr(stop.model, "stop_training", True)
    recipe = Recipe.from_dict(tiny.content(epochs=2, selection={"every": 0}))
    stopped = train(recipe, tmp_path, progress=False, callbacks=[stop])
    assert (stopped["finished"], stopped["epochs"]) == (False, 1)
    assert (tmp_path / "checkpoint.safetensors").is_file()
    assert train(recipe, tmp_path, progress=False)["epochs"] == 2
