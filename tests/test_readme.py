"""README.md: its commands, links, badges and length. tests/docs/test_blocks.py runs its blocks."""

import re
import subprocess
import sys
import tomllib

import keras
import pytest

import kseg
from tests.docs.blocks import ROOT, blocks

README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_mypy_accepts_the_python_of_the_documents(tmp_path):
    documents = [
        ROOT / "README.md",
        ROOT / "docs/checkpoints.md",
        ROOT / "docs/migration.md",
        *ROOT.glob("zoo/*/card.md"),
    ]
    for document in documents:
        name = re.sub("[^a-z0-9]", "_", f"{document.parent.name}_{document.stem}".lower())
        for number, block in enumerate(block for block in blocks(document) if block.language == "python"):
            (tmp_path / f"{name}_{number}.py").write_text(block.text)
    files = [str(file) for file in tmp_path.glob("*.py")]
    assert len(files) >= len(documents)
    run = subprocess.run([sys.executable, "-m", "mypy", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_fine_tuning_as_in_the_documents_beats_the_imagenet_start_after_as_many_steps(numpy_initializers):
    page = (ROOT / "docs/weights.md").read_text("utf-8")
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "get_layer" in code)
    assert "size=(192, 256)" in code
    code = code.replace("size=(192, 256)", "size=(96, 128), count=24")
    tuned: dict = {}
    with pytest.warns(UserWarning, match="initialized randomly: head/conv$"):
        exec(compile(code, "weights.md", "exec"), tuned)
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


def test_ci_runs_the_test_command_of_the_readme_and_no_other():
    commands = [block.text.strip() for block in blocks(ROOT / "README.md") if block.language == "bash"]
    (command,) = (command for command in commands if "python -m tests" in command)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == command
    assert sum("pytest" in line or "tests" in line for line in lines if not line.startswith("#")) == 1


def test_every_file_that_the_readme_links_is_there():
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        assert "://" in target or (ROOT / target).is_file(), target


def test_badges_say_what_the_project_says():
    badges = dict(re.findall(r"badge/(\w+)-(.+?)-\w+\)", README))
    versions = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert badges["python"] == f"{versions[0]}_to_{versions[-1]}"
    assert badges["Keras"] == keras.__version__.partition(".")[0]
    assert badges["license"].replace("--", "-") == PROJECT["license"]


def test_it_is_short():
    assert len(README.splitlines()) <= 140
