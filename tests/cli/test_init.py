import os

import numpy as np

from kseg import pretrained
from tests.cli.command import kseg_command, refused
from tests.data import folders


def test_the_recipe_of_a_folder_trains_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    white = np.zeros((40, 48), "uint8")
    white[8:20, 12:40] = 255
    for number in range(5):
        folders.write_pair(tmp_path / "my leaves", f"{number}", np.roll(white, number, axis=1))
        os.replace(f"my leaves/masks/{number}.png", f"my leaves/masks/{number}_mask.png")
    folders.write(tmp_path / "my leaves" / "images" / "unlabeled.png", np.stack([white] * 3, axis=-1))
    done = kseg_command("init", "my leaves")
    assert done.exit_code == 0, done.output
    assert "\nleft out: 1 image that has no mask (unlabeled.png)\n" in done.output and "problem" not in done.output
    assert "wrote recipe.toml; next: kseg datasets check recipe.toml, then kseg train recipe.toml" in done.output
    assert "recipe.toml exists and is kept: give another name, --output" in refused("init", "my leaves")
    text = (tmp_path / "recipe.toml").read_text()
    assert 'folder = "my leaves"' in text and 'mask_suffix = "_mask"' in text and "values = [0, 255]" in text
    text = text.replace('builder = "unet"', 'builder = "tiny"').replace("epochs = 200", "epochs = 2")
    (tmp_path / "recipe.toml").write_text(text)
    checked = kseg_command("datasets", "check", "recipe.toml")
    assert checked.exit_code == 0 and "note: 1 image is in no split, because no mask has its name (" in checked.output
    (tmp_path / "my leaves" / "images" / "unlabeled.png").unlink()
    done = kseg_command("train", "recipe.toml", "--run-folder", "run")
    assert done.exit_code == 0, done.output
    assert "(--split val)" in refused("evaluate", "run", "--data", "recipe.toml")
    assert kseg_command("evaluate", "run", "--data", "recipe.toml", "--split", "val").exit_code == 0
    assert pretrained.describe(tmp_path / "run" / "best.safetensors")["classes"] == ["background", "foreground"]


def test_damaged_images_are_problems_but_do_not_stop_it(tmp_path):
    for number in range(12):
        folders.write_pair(tmp_path / "data", f"{number}", np.eye(40, dtype="uint8"))
    for name in ("0", "1", "10"):
        (tmp_path / "data" / "images" / f"{name}.png").write_text("damaged")
    done = kseg_command("init", tmp_path / "data", "--output", tmp_path / "x.toml")
    assert done.exit_code == 0, done.output
    assert "problem: not an image that can be read (3 files: 0.png, 1.png, 10.png)" in done.output


def test_a_folder_without_labels_is_refused_in_one_line(tmp_path):
    folders.write(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    assert "found no masks" in refused("init", tmp_path, "--output", tmp_path / "x.toml")
    assert not (tmp_path / "x.toml").exists()
