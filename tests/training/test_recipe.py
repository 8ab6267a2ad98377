import json

import pytest

from kseg.training import Recipe, dataset, preparation
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
        ({"epoch": 3}, "the top level has no key 'epoch': did you mean 'epochs'?"),
        ({"optimiser": {}}, "the top level has no key 'optimiser': did you mean 'optimizer'?"),
        ({"batch_size": 3}, "the top level has no key 'batch_size': it belongs to [data]"),
        ({"selection": {"xyz": 3}}, "[selection] has no key 'xyz': there are every, metric"),
        ({"epochs": 0}, "epochs: Input should be greater than 0, got 0"),
        ({"data": {"batch_size": "many"}}, "[data] batch_size: Input should be a valid integer"),
        ({"optimizer": {"name": "adam"}}, "[optimizer] name: Input should be 'adamw' or 'sgd', got 'adam'"),
        ({"optimizer": {"warmup_steps": 1, "warmup_epochs": 1}}, "give warmup_steps or warmup_epochs, not both"),
        ({"data": {"folder": "x"}}, "[data]: give either name (a data set of kseg) or folder"),
        ({"data": {"name": None, "folder": "x"}}, "[data]: folder needs classes"),
        ({"data": {"classes": ["a", "b"]}}, "[data]: classes, palette and ignore belong to folder"),
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
