import re

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import kseg_command, refused
from tests.data import folders

pytestmark = pytest.mark.usefixtures("numpy_initializers", "loaded_once")

CLASSES = ["soil", "leaf", "spot [/old] :fire:"]  # neither markup nor an emoji in a table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    for index in range(3):
        mask = np.random.default_rng(index).integers(0, 3, (20, 24)).astype("uint8")
        folders.write_pair(root, f"{index}{'x' * index}", mask, images="images/test", masks="masks/test")
    return root


@pytest.fixture(scope="module")
def models(save):
    return [save(3, CLASSES, [(9, 9, 9), (0, 255, 0), (200, 0, 0)], seed=seed) for seed in (1, 2)]


def test_scores_equal_those_of_evaluate(models, place, tmp_path):
    command = ["compare", *models, "--data", place, "--count", "2", "-o"]
    assert kseg_command(*command, tmp_path / "c.png").exit_code == 0
    done = kseg_command(*command, tmp_path / "c.png")  # replaces its own picture, but no other
    assert done.exit_code == 0, done.output
    photo = place / "images/test/0.png"
    before = photo.read_bytes()
    assert f"{photo} was not written by kseg compare: name another file with -o" in refused(*command, photo)
    assert photo.read_bytes() == before
    scored = [kseg_command("evaluate", model, "--data", place, "--batch-size", 1).stdout for model in models]
    for name in ("miou", "IoU leaf", re.escape("IoU spot [/old] :fire:")):
        shown = re.search(rf"{name} +│ +(\S+) │ +(\S+) │ +(\S+)", done.stdout).groups()
        wanted = [re.search(rf"{name} +│ +(\S+)", text)[1] for text in scored]
        assert list(shown[:2]) == wanted
        assert float(shown[2]) == pytest.approx(float(wanted[1]) - float(wanted[0]), abs=1.1e-4)
    assert re.search(r"A and B disagree on \d+\.\d\d% of the labeled pixels", done.stdout)
    right = [float(share) for share in re.findall(r"right on (\d+\.\d)%", done.stdout)]
    assert len(right) == 3 and sum(right) == pytest.approx(100, abs=0.2)
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 5 * 24 and picture.height > 2 * 20


def test_a_model_agrees_with_itself_and_no_picture_is_written(models, place, tmp_path):
    done = kseg_command("compare", models[0], models[0], "--data", place, "-o", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "A and B disagree on 0.00% of the labeled pixels" in done.stdout
    assert not (tmp_path / "c.png").exists()


def test_models_with_other_classes_are_refused(models, save, place):
    others = save(3, ["soil", "leaf", "stone"]), save(1, ["soil", "leaf"])
    for other, told in zip(others, ("soil, leaf, stone", "soil, leaf"), strict=True):
        error = refused("compare", models[0], other, "--data", place)
        assert f"models with different classes cannot be compared: A has {', '.join(CLASSES)}; B has {told}\n" in error
    assert "streets needs 8" in refused("compare", *models, "--data", "streets")
