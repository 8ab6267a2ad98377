"""The suites in benchmarks/suites: every recipe can be built, so that no time on a GPU is lost to a typo."""

import itertools
import json

import keras
import numpy as np
import pytest

from benchmarks import leaderboard, suite
from kseg import data
from kseg.data._camvid import CLASSES as CAMVID
from kseg.data._nuclei import CLASSES as NUCLEI
from kseg.training import preparation, splits


class Blank(data.Dataset):
    """One image with the classes of a data set, in which every class occurs."""

    def __init__(self, classes):
        super().__init__("blank", classes)

    def __len__(self):
        return 1

    def read(self, index):
        label = np.arange(64, dtype="uint8").reshape(8, 8) % len(self.classes)
        return np.zeros((8, 8, 3), "uint8"), label


def _models():
    """Every combination of builder and options once, named after the first model that has it."""
    found = {}
    for path in sorted(suite.SUITES.glob("*.toml")):
        for budget in suite.budgets(path.stem):
            for name, recipe in suite.load(path.stem, budget).recipes.items():
                key = json.dumps([recipe.data.name, recipe.model.model_dump()])
                found.setdefault(key, pytest.param(recipe, id=f"{path.stem}:{name}"))
    return list(found.values())


CLASSES = {"camvid": CAMVID, "nuclei": NUCLEI}


def _split(recipe):
    if recipe.data.name == "streets":
        return data.load("streets", "val", count=1)
    return Blank(CLASSES[recipe.data.name])


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize("recipe", _models())
def test_every_model_of_a_suite_is_built(recipe):
    split = _split(recipe)
    no_files = {"encoder_weights": "none", "start": None}
    random = recipe.model_copy(update={"model": recipe.model.model_copy(update=no_files)})
    model = preparation.model(random, preparation.arguments(recipe, split))
    size = (360, 480) if recipe.data.crop is None else recipe.data.crop
    assert model.compute_output_shape((2, *size, 3)) == (2, *size, split.num_classes)


def test_losses_optimizers_and_augmentations_of_every_suite_are_made():
    names = [(path.stem, budget) for path in suite.SUITES.glob("*.toml") for budget in suite.budgets(path.stem)]
    built = {}
    for name, recipe in itertools.chain.from_iterable(suite.load(*each).recipes.items() for each in names):
        split = _split(recipe)
        if len(split.classes) not in built:
            image = keras.Input((None, None, 3))
            logits = keras.layers.Conv2D(split.num_classes, 1, name="encoder")(image)
            built[len(split.classes)] = keras.Model(image, logits)
        model = built[len(split.classes)]
        assert preparation.loss(recipe, split, model).from_logits, name
        schedule = preparation.schedule(recipe, 10)
        assert preparation.optimizer(recipe, model, schedule) is not None
        assert next(iter(splits.batches(recipe, split, 0)))[0].shape[0] == recipe.data.batch_size


def test_models_differ_where_the_suite_says_so(tmp_path):
    (tmp_path / "tiny.toml").write_text(
        '[recipe]\nepochs = 1\ndata = { name = "streets" }\n'
        'model = { builder = "unet", options = { doubling = true } }\n'
        '[[models]]\nname = "one"\noptimizer = { weight_decay = 0.0 }\n'
        '[[models]]\nname = "two"\nseed = 7\nmodel = { options = { activation = "softmax" } }\n'
    )
    one, two = suite.load(tmp_path / "tiny.toml").recipes.values()
    assert (one.model.builder, two.model.builder) == ("unet", "unet")
    assert (one.model.options, two.model.options) == ({"doubling": True}, {"doubling": True, "activation": "softmax"})
    assert (one.optimizer.weight_decay, two.optimizer.weight_decay) == (0.0, 0.01)
    assert (one.seed, two.seed) == (0, 7)


def test_two_models_of_a_suite_differ(tmp_path):
    (tmp_path / "tiny.toml").write_text(
        '[recipe]\nepochs = 1\ndata = { name = "streets" }\nmodel = { builder = "unet" }\n'
        '[budgets.cpu]\n[budgets.gpu]\n[[models]]\nname = "one"\nepochs = 1\n[[models]]\nname = "two"\nbudget = "cpu"\n'
    )
    assert list(suite.load(tmp_path / "tiny.toml", "gpu").recipes) == ["one"]
    with pytest.raises(ValueError, match="budget cpu: 'one' and 'two' have the same recipe"):
        suite.load(tmp_path / "tiny.toml", "cpu")


def test_an_unknown_suite_is_named_with_its_neighbors():
    with pytest.raises(FileNotFoundError, match="no suite 'camvd': did you mean camvid"):
        suite.load("camvd")


def test_budgets_differ_where_the_file_says_so():
    gpu, cpu = suite.load("camvid", "gpu").recipes, suite.load("camvid", "cpu").recipes
    assert (gpu["unet"].precision, gpu["unet"].data.crop, gpu["unet"].epochs) == ("mixed_bfloat16", (360, 480), 70)
    assert (cpu["unet"].precision, cpu["unet"].data.crop, cpu["unet"].epochs) == ("float32", (240, 320), 20)
    assert cpu.keys() - gpu.keys() == {"unet-plain"}
    with pytest.raises(ValueError, match="suite 'camvid' has no budget 'tpu': there are gpu, cpu"):
        suite.load("camvid", "tpu")


def _recorded():
    """The rows of all leaderboards that have a budget, one per recipe."""
    for path in sorted(leaderboard.LEADERBOARDS.glob("*.csv")):
        rows = leaderboard.read(path).dropna(subset="budget").drop_duplicates(["name", "recipe"])
        for row in rows.to_dict("records"):
            yield pytest.param(row, id=f"{row['suite']}:{row['name']}, seed {row['seed']}")


@pytest.mark.parametrize("row", list(_recorded()))
def test_rows_already_in_the_leaderboard_keep_their_recipes(row):
    name = "unet" if isinstance(row["peer"], str) else row["name"]  # whose recipe the peer takes
    recipe = suite.load(row["suite"], row["budget"]).recipes[name]
    assert recipe.model_copy(update={"seed": row["seed"]}).hash() == row["recipe"]


def test_an_ablation_keeps_the_protocol_of_the_suite_it_extends():
    extended = suite.load("losses", "gpu").recipes["dice"]
    assert extended == suite.load("camvid", "gpu").recipes["unet"]
    assert not suite.load("losses", "gpu").seeds
