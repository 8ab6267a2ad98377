import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import kseg
from kseg import cli, training, zoo
from tests.training import tiny

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


@pytest.fixture(autouse=True)
def builder(monkeypatch):
    monkeypatch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)


def kseg_command(*arguments):
    return CliRunner().invoke(cli.application, [str(argument) for argument in arguments])


def refused(*arguments):
    """Runs a command that must fail, and returns its one line on stderr."""
    done = kseg_command(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "road.toml"
    path.write_text(RECIPE)
    return path


def test_train_then_evaluate_print_the_scores(recipe, tmp_path):
    done = kseg_command("train", recipe, "--run-folder", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "epoch 1/1" in done.output
    assert "IoU pedestrian" in done.output
    again = kseg_command("train", recipe, "--run-folder", tmp_path / "run")
    assert again.exit_code == 0
    assert "epoch 1/1" not in again.output

    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
    assert f"{scores['miou']:.4f}" in again.output
    done = kseg_command("evaluate", tmp_path / "run" / "best.safetensors", "--data", "streets", "--split", "val")
    assert done.exit_code == 0, done.output
    assert "pixel_accuracy" in done.output


def test_a_run_is_kept_under_the_name_of_its_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = {"finished": False, "epochs": 7, "scores": {}}
    seen = []
    monkeypatch.setattr(training, "train", lambda *arguments, **options: seen.append((arguments, options)) or result)
    done = kseg_command("train", recipe, "--minutes", "2.5", "--data-root", tmp_path)
    assert "stopped after epoch 7: the same command goes on" in done.output
    (arguments, options) = seen[0]
    assert str(arguments[1]) == "runs/road"
    assert (options["minutes"], options["data_root"]) == (2.5, tmp_path)


def test_version_is_printed():
    assert kseg_command("--version").output == f"kseg {kseg.__version__}\n"


def test_datasets_are_listed():
    names = [line.split()[0] for line in kseg_command("datasets", "list").output.splitlines()]
    assert names == ["camvid", "nuclei", "streets"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_folder_is_checked(tmp_path, broken):
    for folder, shape in (("images", (6, 8, 3)), ("masks", (6, 8))):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros(shape, "uint8")).save(tmp_path / folder / "first.png")
    if broken:
        (tmp_path / "masks" / "first.png").unlink()
    done = kseg_command("datasets", "check", tmp_path, "--classes", "background, cell", "--ignore", "7,255")
    assert done.exit_code == int(broken), done.output
    assert ("first" in done.output) == broken
    assert "Traceback" not in done.output


def test_mistakes_are_one_line(recipe, tmp_path):
    assert "no recipe at" in refused("train", tmp_path / "nowhere.toml")
    recipe.write_text(RECIPE.replace("batch_size", "bach_size"))
    assert "[data] has no key 'bach_size': did you mean 'batch_size'?" in refused("train", recipe)
    recipe.write_text(RECIPE.replace("streets", "streats"))
    assert "streets" in refused("train", recipe, "--run-folder", tmp_path / "run")
    assert "no weight file at" in refused("evaluate", tmp_path / "no.safetensors", "--data", "streets")
    assert "--ignore takes whole numbers" in refused("datasets", "check", tmp_path, "--classes", "a,b", "--ignore", "x")


def test_a_full_disk_is_one_line(recipe, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "cannot write best.safetensors")

    monkeypatch.setattr(training, "train", full)
    assert "the disk is full: " in refused("train", recipe)


def test_debug_shows_where_an_error_came_from(tmp_path):
    done = kseg_command("--debug", "train", tmp_path / "nowhere.toml")
    assert isinstance(done.exception, FileNotFoundError)


def test_own_data_are_checked_trained_and_evaluated_by_one_recipe(tmp_path):
    """RGB masks, an ignored colour, folders instead of lists: what the recipe says holds for all three commands."""
    colours = np.array([[0, 0, 0], [0, 160, 0], [200, 60, 0], [255, 255, 255]], "uint8")
    rng = np.random.default_rng(0)
    for split, images in (("train", 4), ("val", 1), ("test", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "own" / kind / split).mkdir(parents=True)
        for index in range(images):
            label = rng.integers(0, 4, (40, 44))
            Image.fromarray(colours[label]).save(tmp_path / "own" / "masks" / split / f"{index}.png")
            Image.fromarray(rng.integers(0, 256, (40, 44, 3)).astype("uint8")).save(
                tmp_path / "own" / "images" / split / f"{index}.png"
            )
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
    trained = kseg_command("train", recipe, "--run-folder", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    evaluated = kseg_command("evaluate", tmp_path / "run" / "best.safetensors", "--data", recipe, "--split", "test")
    assert evaluated.exit_code == 0, evaluated.output
    assert "IoU leaf" in evaluated.output
