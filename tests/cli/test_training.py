import json
import os

import keras
import numpy as np
import pytest

from kseg import training
from tests.cli.command import kseg_command, refused
from tests.data import folders

RECIPE = """
epochs = 1
[data]
name = "streets"
batch_size = 4
crop = [32, 32]
options = {size = [48, 48], count = 6}
[model]
builder = "tiny"
encoder = "small"
encoder_weights = "none"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "road.toml"
    path.write_text(RECIPE)
    return path


def test_a_run_is_kept_under_the_name_of_its_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = {"finished": False, "epochs": 7, "scores": {}}
    seen = []
    monkeypatch.setattr(training, "train", lambda *arguments, **options: seen.append((arguments, options)) or result)
    done = kseg_command("train", recipe, "--minutes", "2.5", "--data-root", tmp_path)
    assert "stopped after epoch 7: the same command resumes the run" in done.output
    (arguments, options) = seen[0]
    assert str(arguments[1]) == "runs/road"
    assert (options["minutes"], options["data_root"]) == (2.5, tmp_path)


def test_own_data_are_checked_trained_and_evaluated_by_one_recipe(tmp_path):
    """RGB masks, an ignored color, folders instead of lists: the recipe applies to all three commands."""
    colors = np.array([[0, 0, 0], [0, 160, 0], [200, 60, 0], [255, 255, 255]], "uint8")
    rng = np.random.default_rng(0)
    for split, images in (("train", 4), ("val", 1), ("test", 2)):
        for index in range(images):
            mask = colors[rng.integers(0, 4, (40, 44))]
            folders.write_pair(tmp_path / "own", str(index), mask, f"images/{split}", f"masks/{split}")
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        f'epochs = 1\nmodel = {{ builder = "tiny", encoder = "small", encoder_weights = "none" }}\n[data]\n'
        f'folder = "{tmp_path / "own"}"\nclasses = ["soil", "leaf", "spot"]\n'
        "palette = [[0, 0, 0], [0, 160, 0], [200, 60, 0]]\nignore = [[255, 255, 255]]\n"
        "batch_size = 2\ncrop = [32, 32]\n"
    )
    checked = kseg_command("datasets", "check", recipe)
    assert checked.exit_code == 0, checked.output
    assert all(f"{split}:" in checked.output for split in ("train", "val", "test"))
    for shown in (True, False):  # a finished run is not trained again
        trained = kseg_command("train", recipe, "--run-folder", tmp_path / "run")
        assert trained.exit_code == 0, trained.output
        assert ("epoch 1/1" in trained.output) == shown
        assert ("is finished, nothing was trained" in trained.output) != shown
        scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
        assert f"{scores['miou']:.4f}" in trained.output
    evaluated = kseg_command("evaluate", tmp_path / "run" / "best.safetensors", "--data", recipe, "--split", "test")
    assert evaluated.exit_code == 0, evaluated.output
    assert "pixel_accuracy" in evaluated.output and "IoU leaf" in evaluated.output


def test_mistakes_are_one_line(recipe, tmp_path):
    assert "no recipe at" in refused("train", tmp_path / "nowhere.toml")
    recipe.write_text(RECIPE.replace("batch_size", "bach_size"))
    assert "[data] has no key 'bach_size': did you mean 'batch_size'?" in refused("train", recipe)
    recipe.write_text(RECIPE.replace("streets", "streats"))
    assert "streets" in refused("train", recipe, "--run-folder", tmp_path / "run")
    assert "no weight file at" in refused("evaluate", tmp_path / "no.safetensors", "--data", "streets")
    assert "--values takes integers" in refused("datasets", "check", tmp_path, "--classes", "a,b", "--values", "x")
    assert "--masks: --data must be a folder" in refused(
        "evaluate", tmp_path / "no", "--data", "streets", "--masks", "m"
    )


def test_devices_and_hosts_are_those_of_the_command_and_of_the_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe.write_text(RECIPE + "[distribution]\nprocesses = 2\ndevices = 3\n")
    seen, started = [], []
    result = {"finished": True, "scores": {}}
    monkeypatch.setattr(training, "train", lambda content, *_, **__: seen.append(content.distribution) or result)
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    done = kseg_command("train", recipe, "--devices", "2", "--hosts", "node-1:77", "--process", "1")
    assert done.exit_code == 0, done.output
    assert seen[0].model_dump() == {"devices": 2, "hosts": "node-1:77", "processes": 2, "process": 1}
    if keras.backend.backend() != "torch":
        assert not started
        return
    (python, command), *_ = started
    assert command[0] == python and "--nproc-per-node=2" in command and "--node-rank=1" in command
    assert command[command.index("--nproc-per-node=2") :][1:3] == ["-m", "kseg.cli"]
