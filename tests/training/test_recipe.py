import json

import numpy as np
import pytest

from kseg.training import Recipe, dataset, preparation, splits
from tests.data import folders
from tests.training import tiny


def test_json_gives_the_same_recipe_back():
    own = {"folder": "cells", "classes": ["a", "b"], "palette": [[0, 0, 0], [9, 0, 0]], "ignore": [7, [255, 255, 255]]}
    recipe = Recipe.from_dict(tiny.content(loss={"class_weights": [1, 2.5]}) | {"data": own})
    assert recipe.data.ignore == (7, (255, 255, 255))
    again = Recipe.from_dict(json.loads(recipe.to_json()))
    assert again == recipe
    assert again.hash() == recipe.hash()


def test_the_hash_changes_with_any_value():
    recipes = [{}, {"seed": 1}, {"data": {"batch_size": 3}}, {"optimizer": {"power": 1.0}}, {"model": {"start": "a"}}]
    assert len({Recipe.from_dict(tiny.content(**change)).hash() for change in recipes}) == len(recipes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {"learning_rat": 1}}, "[optimizer] has no key 'learning_rat': did you mean 'learning_rate'?"),
        ({"model": {"weights": "runs/r"}}, "[model] has no key 'weights': did you mean 'start'?"),
        ({"epoch": 3}, "the top level has no key 'epoch': did you mean 'epochs'?"),
        ({"optimiser": {}}, "the top level has no key 'optimiser': did you mean 'optimizer'?"),
        ({"batch_size": 3}, "the top level has no key 'batch_size': it belongs to [data]"),
        ({"selection": {"xyz": 3}}, "[selection] has no key 'xyz': there are every, metric"),
        ({"epochs": 0}, "epochs: must be greater than 0, got 0"),
        ({"epochs": True}, "epochs: must be a whole number, got True"),
        ({"epochs": "2"}, "epochs: must be a whole number, got '2'"),
        ({"optimizer": {"learning_rate": float("inf")}}, "[optimizer] learning_rate: must be finite, got inf"),
        ({"data": {"model": {}}}, "[data] has no key 'model': it belongs to the top level, above the first [section]"),
        ({"data": {"seed": 3}}, "[data] has no key 'seed': it belongs to the top level, above the first [section]"),
        ({"data": {"encoder": "resnet18"}}, "[data] has no key 'encoder': it belongs to [model]"),
        ({"data": {"crop": 256}}, "[data] crop: must be a list in brackets, got 256"),
        ({"data": {"crop": [256]}}, "[data] crop: must be a list of 2 values, got [256]"),
        ({"data": {"crop": [256, "a"]}}, "[data] crop: must be a whole number, got 'a'"),
        ({"data": {"classes": "a,b"}}, "[data] classes: must be a list in brackets, got 'a,b'"),
        ({"data": {"range": "all"}}, "[data] range: must be 'percentile' or a list in brackets, got 'all'"),
        ({"loss": {"class_weights": [1, -5]}}, "[loss] class_weights: must be 0 or more, got -5"),
        ({"tracking": {"wandb": {"config": "c.yaml"}}}, "[tracking]: config of wandb must be a table, got 'c.yaml'"),
        ({"tracking": {"mlflow": {"tags": ["a"]}}}, "[tracking]: tags of mlflow must be a table, got ['a']"),
        ({"model": "unet"}, "[model]: must be a table, got 'unet'"),
        ({"data": {"batch_size": "many"}}, "[data] batch_size: must be a whole number, got 'many'"),
        ({"optimizer": {"name": "adam"}}, "[optimizer] name: must be 'adamw' or 'sgd', got 'adam'"),
        ({"optimizer": {"warmup_steps": 1, "warmup_epochs": 1}}, "give warmup_steps or warmup_epochs, not both"),
        ({"data": {"folder": "x"}}, "[data]: give either name (a data set of kseg) or folder"),
        ({"data": {"name": None, "folder": "x"}}, "[data]: folder needs classes"),
        ({"data": {"classes": ["a", "b"]}}, "[data]: classes belongs to folder; a named data set has its own"),
        ({"data": {"values": [0, 1], "masks": "m"}}, "[data]: values, masks belong to folder"),
        ({"data": {"scale": [2.0, 1.0]}}, "[data]: scale must be (smallest, largest)"),
        ({"loss": {"class_weights": "medium"}}, "[loss] class_weights"),
    ],
)
def test_a_fault_is_one_line_that_names_it(change, message):
    with pytest.raises(ValueError) as caught:
        Recipe.from_dict(tiny.content(**change), source="my.toml")
    text = str(caught.value)
    assert text.startswith("my.toml: ")
    assert message in text
    assert "\n" not in text


def test_a_missing_section_is_named():
    with pytest.raises(ValueError, match=r"the section \[model\] is missing"):
        Recipe.from_dict({"epochs": 1, "data": {"name": "streets"}})
    with pytest.raises(ValueError, match=r"\[model\] is missing 'builder'"):
        Recipe.from_dict({"epochs": 1, "data": {"name": "streets"}, "model": {}})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_recipe_of_any_editor_is_read(tmp_path, encoding):
    text = '# mine\r\nepochs = 1\r\nmodel = { builder = "unet" }\r\n[data]\r\nfolder = "Größe"\r\nclasses = ["a", "b"]'
    (tmp_path / "r.toml").write_bytes(text.encode(encoding))
    assert Recipe.from_toml(tmp_path / "r.toml").data.folder == "Größe"


def test_backslashes_in_a_recipe_are_explained(tmp_path):
    (tmp_path / "r.toml").write_text('epochs = 1\n[data]\nfolder = "C:\\data"')
    with pytest.raises(ValueError, match="write paths with / or in single quotes"):
        Recipe.from_toml(tmp_path / "r.toml")


def test_keys_that_are_left_out_do_not_change_the_hash():
    """The hash of this recipe in the first edition; leaderboards and run folders contain such hashes."""
    own = {"folder": "x", "classes": ["a", "b"]}
    recipe = Recipe.from_dict({"epochs": 2, "model": {"builder": "unet"}, "data": own})
    assert recipe.hash() == "0b1dde0c1e13"
    assert (
        Recipe.from_dict({"epochs": 2, "model": {"builder": "unet"}, "data": own | {"masks": "m"}}).hash()
        != recipe.hash()
    )


def test_keys_of_a_folder_reach_its_files(tmp_path):
    for stem in "abcd":
        folders.write_pair(tmp_path, stem, np.array([[0, 255]], "uint8"))
        (tmp_path / "masks" / f"{stem}.png").rename(tmp_path / "masks" / f"{stem}_mask.png")
    content = {"epochs": 1, "model": {"builder": "unet"}, "data": {"folder": str(tmp_path), "classes": ["a", "b"]}}
    keys = {"mask_suffix": "_mask", "values": [0, 255], "split": "50/50", "split_seed": 3}

    def opened(name, **keys):
        return dataset(Recipe.from_dict(content | {"data": content["data"] | keys}), name, None)

    train, val = (opened(split, **keys) for split in ("train", "val"))
    assert (len(train), len(val)) == (2, 2)
    assert train[0][1].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r'no mask of this name in .*: give mask_suffix = "_mask" in \[data\]'):
        splits.check(opened(None), "train")
    with pytest.raises(ValueError, match=r"values is a key of \[data\] itself"):
        opened("train", options={"values": [0, 255]})
    with pytest.raises(FileNotFoundError, match=r'to divide all images, give split = "80/10/10" in \[data\]'):
        opened("train")


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recipe at .*nowhere\.toml"):
        Recipe.from_toml(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("epochs = = 3")
    with pytest.raises(ValueError, match=r"broken\.toml is not TOML: "):
        Recipe.from_toml(tmp_path / "broken.toml")


def _arguments(**model):
    content = {"epochs": 1, "data": {"name": "streets", "options": {"count": 2}}, "model": model}
    recipe = Recipe.from_dict(content)
    return preparation.arguments(recipe, dataset(recipe, "train", None))


def test_a_builder_with_an_encoder_of_its_own_is_not_given_one():
    assert _arguments(builder="segnet_basic").keys() == {"num_classes"}
    same = {"padding": "same"}
    assert _arguments(builder="unet_2015", options=same)["input_shape"] == [None, None, 3]  # it is made for gray images
    with pytest.raises(ValueError, match="encoder: segnet has its own: leave it out"):
        _arguments(builder="segnet", encoder="vgg16")


def test_a_model_that_leaves_the_image_without_padding_is_refused():
    with pytest.raises(ValueError, match='a label for every pixel: give unet_2015 padding = "same"'):
        _arguments(builder="unet_2015")


def test_a_model_with_several_outputs_is_refused():
    model = {"builder": "fcn_dilated", "encoder_weights": "none", "options": {"auxiliary": True}}
    recipe = Recipe.from_dict({"epochs": 1, "data": {"name": "streets"}, "model": model})
    built_with = {"num_classes": 2, "encoder": "efficientnet_lite0", "auxiliary": True}
    with pytest.raises(ValueError, match="recipes train one output, but fcn_dilated gives logits, auxiliary"):
        preparation.model(recipe, built_with)
