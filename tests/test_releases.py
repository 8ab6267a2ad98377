"""Every released weight: its entry in the table, its folder in zoo/ and its file agree."""

import dataclasses
import json
import os
import pathlib
import re

import keras
import numpy as np
import pytest
import safetensors.numpy

from benchmarks import leaderboard
from benchmarks.release import EVERY, LOSS, SMALL, contents, model_card
from kseg import data, download, pretrained, training, zoo
from kseg.data import Subset
from kseg.pretrained import release as table

ZOO = pathlib.Path(__file__).parents[1] / "zoo"
RELEASES = dict(pretrained.RELEASES)
KEPT = [name for name, release in RELEASES.items() if release.bytes <= SMALL]
"""Those whose weights are in the checkout; larger files are on a server."""
HERE = {"streets", *(["camvid", "nuclei"] if os.environ.get("KSEG_DATA") else [])}
WHOLE = {"tensorflow": "unet-efficientnet_lite0-camvid"}.get(keras.backend.backend())
"""Scored on the whole test split, on the default backend; on the others it takes minutes and proves no more."""
MEASURED = [name for name in KEPT if RELEASES[name].dataset in HERE]


@pytest.fixture(params=RELEASES)
def release(request):
    return RELEASES[request.param]


@pytest.fixture
def metrics(release):
    return json.loads((ZOO / release.name / "metrics.json").read_text())


@pytest.mark.usefixtures("without_memory")
def test_the_table_rebuilds_the_model(release):
    options = {"encoder_weights": None} if _has(release, "encoder_weights") else {}
    model = zoo.build(release.builder, **release.arguments, **options)
    assert model.count_params() == release.parameters
    assert len(release.classes) == len(release.palette) > 1
    assert model.output_shape[-1] == (1 if len(release.classes) == 2 else len(release.classes))


def test_the_name_begins_with_builder_encoder_dataset(release):
    parts = [release.builder, release.arguments.get("encoder"), release.dataset]
    assert f"{release.name}-".startswith("-".join(part for part in parts if part) + "-")


def test_the_file_and_its_header_match_the_table(release):
    file = ZOO / release.name / release.file
    assert file.is_file() == (release.bytes <= SMALL)
    if release.bytes <= SMALL:
        assert (file.stat().st_size, download.file_sha256(file)) == (release.bytes, release.sha256)
        description = pretrained.describe(file)
        assert (description["builder"], description["arguments"]) == (release.builder, release.arguments)
        assert (tuple(description["classes"]), description["recipe"]) == (release.classes, release.recipe)


def test_the_scores_in_the_table_equal_the_measured_scores(release, metrics):
    assert metrics["scores"]["miou"] == pytest.approx(release.miou, abs=1e-6)
    assert metrics["scores"]["pixel_accuracy"] == pytest.approx(release.pixel_accuracy, abs=1e-6)
    for key in ("name", "dataset", "bytes", "sha256", "parameters", "recipe"):
        assert metrics[key] == getattr(release, key)
    matrix = metrics["scores"]["confusion_matrix"]
    right = sum(row[place] for place, row in enumerate(matrix))
    assert right / sum(map(sum, matrix)) == pytest.approx(release.pixel_accuracy, abs=1e-6)


def test_storage_costs_next_to_nothing(metrics):
    exactly = 10 ** -metrics["float32"].get("digits", 6)
    assert metrics["cost"] == pytest.approx(metrics["float32"]["miou"] - metrics["scores"]["miou"], abs=exactly)
    assert metrics["cost"] <= LOSS == 0.0005


def test_the_recipe_matches_the_table(release):
    recipe = training.Recipe.from_toml(ZOO / release.name / "recipe.toml")
    assert recipe.hash() == release.recipe
    assert (recipe.model.builder, recipe.data.name) == (release.builder, release.dataset)


def test_the_card_is_current_and_has_its_picture(release, metrics):
    folder = ZOO / release.name
    recipe = training.Recipe.from_toml(folder / "recipe.toml").model_dump(mode="json")
    assert (folder / "card.md").read_text() == model_card(release, metrics, recipe, "predictions.png")
    assert 10_000 < (folder / "predictions.png").stat().st_size < 300_000


@pytest.mark.parametrize("release", KEPT, indirect=True)
def test_scores_before_storage_equal_those_in_the_leaderboard(release, metrics):
    """A later run of the same recipe may have replaced the row; the validation score identifies the run."""
    description = pretrained.describe(ZOO / release.name / release.file)
    for board in leaderboard.LEADERBOARDS.glob("*.csv"):
        rows = leaderboard.read(board)
        rows = rows[(rows["recipe"] == release.recipe) & (rows["val_miou"] == round(description["scores"]["miou"], 4))]
        for _, row in rows.iterrows():
            assert metrics["float32"]["miou"] == pytest.approx(row["miou"], abs=1e-4)
            for name in release.classes:
                assert metrics["float32"]["iou"][name] == pytest.approx(row[f"iou_{name}"], abs=1e-4)


def test_the_pages_and_the_table_are_as_written_by_the_command(tmp_path):
    assert (ZOO / "README.md").read_text() == contents(RELEASES)
    assert table.write(RELEASES, tmp_path / "table.json").read_bytes() == table.TABLE.read_bytes()


def test_the_page_says_which_release_to_choose_for_what():
    first, *_ = RELEASES.values()
    facts = {"a": (100, 0.5), "b": (109, 0.6), "c": (120, 0.7), "d": (90, 0.9)}
    made = {key: dataclasses.replace(first, name=key, bytes=size, miou=miou) for key, (size, miou) in facts.items()}
    other = next(one.dataset for one in RELEASES.values() if one.dataset != first.dataset)
    made["d"] = dataclasses.replace(made["d"], dataset=other)
    cells = {
        line.split("]")[0][3:]: line.split(" | ")[2] for line in contents(made).splitlines() if line.startswith("| [")
    }
    assert cells == {"a": "", "b": "a small file", "c": "the highest score", "d": "the highest score, a small file"}


def test_all_files_together_are_small():
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) < 64e6


@pytest.mark.parametrize("release", KEPT, indirect=True)
def test_a_builder_loads_the_weights_by_name(release):
    """The name of the data set is enough if the builder has no other weights on it."""
    alone = [one for one in RELEASES.values() if (one.builder, one.dataset) == (release.builder, release.dataset)]
    stored = safetensors.numpy.load_file(ZOO / release.name / release.file)
    branch = lambda rate: f"branch_{int(rate[1]) // 6}"  # noqa: E731 - the files name branches by rates: 6, 12, 18, 24
    stored = {re.sub(r"rate_(\d+)", branch, key): array for key, array in stored.items()}
    for weights in [release.name, *([release.dataset] if alone == [release] else [])]:
        model = zoo.BUILDERS[release.builder](weights=weights)
        for key, variable in pretrained.weight_keys(model).items():
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), stored[key].astype("float32"))


if MEASURED:  # where no images are at hand there is no such test

    @pytest.mark.parametrize("release", MEASURED, indirect=True)
    def test_evaluation_reproduces_the_published_scores(release, metrics):
        """On the subset that `metrics.json` states, and on the whole test split for one on the default backend."""
        test, stated = data.load(release.dataset, "test"), metrics["scores"]
        if release.name != WHOLE:
            test, stated = Subset(test, metrics["subset"]["every"]), metrics["subset"]
        scores = training.evaluate(ZOO / release.name / release.file, test, batch_size=2)
        assert (scores["images"], metrics["subset"]["every"]) == (stated["images"], EVERY)
        assert scores["miou"] == pytest.approx(stated["miou"], abs=0.001)


def _has(release, parameter):
    return parameter in zoo.BUILDERS[release.builder].defaults
