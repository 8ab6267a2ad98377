"""The code, commands and links of README.md work."""

import pathlib
import re
import subprocess
import sys
import tomllib

import keras
import numpy as np
import pytest
import tifffile

import kseg
from kseg.training import Recipe, dataset
from tests.data import folders

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    code, *_ = _blocks("python")
    for long, short in (("steps_per_epoch=30, epochs=4", "steps_per_epoch=1, epochs=1"), ('"val")', '"val", count=2)')):
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "'pedestrian'" in capsys.readouterr().out
    assert (tmp_path / "unet.keras").is_file()


def test_mypy_accepts_the_python_of_the_documents(tmp_path):
    documents = [ROOT / "README.md", *ROOT.glob("docs/[cm]*.md"), *ROOT.glob("zoo/*/card.md")]
    for document in documents:
        name = re.sub("[^a-z0-9]", "_", f"{document.parent.name}_{document.stem}".lower())
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", document.read_text(), flags=re.S)):
            (tmp_path / f"{name}_{number}.py").write_text(code)
    files = [str(file) for file in tmp_path.glob("*.py")]
    assert len(files) > 10
    run = subprocess.run([sys.executable, "-m", "mypy", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_fine_tuning_as_in_the_readme_beats_the_imagenet_start_after_as_many_steps(numpy_initializers):
    (code,) = (block for block in _blocks("python") if "zoo.load" in block)
    assert "size=(192, 256)" in code
    tuned: dict = {}
    with pytest.warns(UserWarning, match="initialized randomly: head/conv$"):
        exec(compile(code.replace("size=(192, 256)", "size=(192, 256), count=32"), "README.md", "exec"), tuned)
        released = kseg.zoo.load("unet-efficientnet_lite0-camvid", num_classes=8)
    # From both starts with the same head, in the same model: compiling another would take most of the time.
    model, imagenet, found = tuned["model"], kseg.zoo.unet(8), []
    for start in (released, imagenet):
        model.set_weights(start.get_weights())
        model.get_layer("head").set_weights(imagenet.get_layer("head").get_weights())
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
        model.fit(tuned["batches"], steps_per_epoch=8, shuffle=False)
        found.append(kseg.training.evaluate(model, tuned["val"])["miou"])
    assert tuned["scores"]["miou"] > 0 and found[0] > found[1]


def test_the_recipe_of_the_readme_reads_black_and_white_masks(tmp_path, monkeypatch):
    recipe, _ = _blocks("toml")
    for index in range(10):
        white = np.array([[0, 255]] * 2, "uint8")
        folders.write(tmp_path / "leaves" / "images" / f"{index}.jpg", white)
        folders.write(tmp_path / "leaves" / "masks" / f"{index}_mask.png", white)
    monkeypatch.chdir(tmp_path)
    found = {split: dataset(Recipe.from_dict(tomllib.loads(recipe)), split, None) for split in ("train", "val", "test")}
    assert [len(split) for split in found.values()] == [8, 1, 1]
    assert all(kseg.data.check(split).pixels == (2 * len(split), 2 * len(split)) for split in found.values())


def test_the_recipe_of_the_readme_reads_five_bands(tmp_path, monkeypatch):
    _, recipe = _blocks("toml")
    values = np.random.default_rng(0).integers(0, 4096, (10, 4, 6, 5)).astype("uint16")
    (tmp_path / "fields" / "images").mkdir(parents=True)
    for index, image in enumerate(values):
        tifffile.imwrite(
            tmp_path / f"fields/images/{index}.tif", image, photometric="minisblack", planarconfig="contig"
        )
        folders.write(tmp_path / f"fields/masks/{index}.tif", (image[..., 0] % 3).astype("uint8"))
    monkeypatch.chdir(tmp_path)
    train = dataset(Recipe.from_dict(tomllib.loads(recipe)), "train", None)
    assert len(train) == 8 and kseg.data.check(train).ok
    np.testing.assert_allclose(train[0][0], values[int(train.identifier(0))] * (255 / 4095), rtol=1e-5)


def test_every_key_of_the_readme_s_table_exists():
    keys = set(re.findall(r"`?(\w+) = ", README[README.index("| your data | keys |") :].split("\n\n")[0]))
    assert len(keys) > 8
    assert keys <= Recipe.model_fields["data"].annotation.model_fields.keys()


def test_ci_runs_the_test_command_of_the_readme_and_no_other():
    (command,) = (block.strip() for block in _blocks("bash") if "python -m tests" in block)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == command
    assert sum("pytest" in line or "tests" in line for line in lines if not line.startswith("#")) == 1


def test_every_file_that_the_readme_links_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).is_file(), target
