"""The Python of docs/checkpoints.md and docs/migration.md runs."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

import kseg
from tests.training import tiny

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def scripts(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), flags=re.DOTALL)


@pytest.fixture
def nuclei(tmp_path, monkeypatch):
    """Some images and masks in the layout of the nuclei data set."""
    for split, count in (("train", 8), ("val", 2)):
        (tmp_path / f"nuclei/{split}.txt").parent.mkdir(exist_ok=True)
        names = [f"{split}{index}" for index in range(count)]
        (tmp_path / f"nuclei/{split}.txt").write_text("\n".join(names))
        for name in names:
            mask = np.zeros((64, 64), "uint8")
            mask[16:40, 20:50] = 1
            for folder, array in (("images", np.stack([mask * 200] * 3, axis=-1)), ("masks", mask)):
                (tmp_path / "nuclei" / folder).mkdir(exist_ok=True)
                Image.fromarray(array).save(tmp_path / "nuclei" / folder / f"{name}.png")
    monkeypatch.setenv("KSEG_DATA", str(tmp_path))


def test_ten_lines_fine_tune_a_network_on_nuclei(nuclei, monkeypatch, capsys, numpy_initializers):
    (script,) = (script for script in scripts("checkpoints.md") if "model.fit" in script)
    assert len([line for line in script.splitlines() if line]) <= 10
    for long, short in (("(256, 256)", "(32, 32)"), ("steps_per_epoch=50, epochs=4", "steps_per_epoch=1")):
        assert long in script
        script = script.replace(long, short)
    monkeypatch.setattr(kseg.zoo, "load", lambda name, num_classes: tiny.tiny(num_classes))
    exec(compile(script, "checkpoints.md", "exec"), {})
    assert re.search(r"\[[\d. ]+\]|nucleus", capsys.readouterr().out)


def test_the_task_of_the_page_on_migration(tmp_path, monkeypatch, numpy_initializers):
    (script,) = scripts("migration.md")
    monkeypatch.setitem(kseg.zoo.BUILDERS, "tiny", tiny.tiny)
    monkeypatch.setattr(kseg.zoo, "unet", lambda num_classes, encoder: tiny.tiny(num_classes))
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(script, "migration.md", "exec"), found)
    assert found["labels"].shape == (64, 96) and found["model"].classes == ("soil", "leaf", "spot")


def test_names_in_the_tables_exist():
    for page in ("checkpoints.md", "migration.md", "deploy.md"):
        for name in re.findall(r"\bkseg\.([a-z_]+(?:\.\w+)+)", (DOCS / page).read_text("utf-8")):
            found = kseg
            for part in name.split("."):
                found = getattr(found, part)
    published = re.findall(r'zoo\.load\("([^"]+/[^"]+)"', (DOCS / "migration.md").read_text("utf-8"))
    assert published and set(published) <= kseg.pretrained.PUBLISHED.keys()
