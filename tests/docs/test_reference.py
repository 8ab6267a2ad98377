"""docs/recipe.md describes every key of a recipe, and its bounds are those that recipes are validated by."""

import doctest
import re

import pytest

from docs import reference
from kseg import data
from kseg.training import Recipe
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "recipe.md").read_text("utf-8")
LEAST = {"epochs": 1, "data": {"name": "streets"}, "model": {"builder": "unet"}}


def fields():
    """Every section and key of a recipe, by the classes, and the field."""
    for name, field in Recipe.model_fields.items():
        if inner := getattr(field.annotation, "model_fields", None):
            yield from ((name, key, each) for key, each in inner.items())
        else:
            yield "", name, field


def rows():
    """The section, the key and the type of every row of the page."""
    section = ""
    for line in PAGE.splitlines():
        if heading := re.match(r"### (?:`\[(\w+)\]`|The top level)", line):
            section = heading[1] or ""
        elif row := re.match(r"\| `(\w+)` \| (.*?)(?:; required|; default `.*?`)? \| .* \|$", line):
            yield section, row[1], row[2]


def test_the_page_is_up_to_date():
    assert reference.page() == PAGE, "python -m docs.reference"
    assert doctest.testmod(reference) == (0, 2)


def test_every_key_has_a_row_and_a_description():
    assert {(section, key) for section, key, _ in fields()} == {(section, key) for section, key, _ in rows()}
    assert not [key for _, key, field in fields() if not (field.description or "").endswith((".", "..."))]


def test_descriptions_name_all_data_sets_and_augmentations():
    described = {key: field.description for section, key, field in fields() if section == "data"}
    assert set(data.DATASETS) == set(re.findall(r"`(\w+)`", described["name"]))
    assert set(data.augment.PIPELINES) == set(re.findall(r"`(\w+)`", described["augment"]))


def test_values_outside_the_bounds_of_the_page_are_refused():
    checked = 0
    for section, key, kind in rows():
        if not (bounds := re.match(r"(whole )?number, (?:above (\d+)|(\d+) or more)(?:, below (\d+))?$", kind)):
            continue
        whole, above, least, below = bounds.groups()
        step = 1 if whole else 0.5
        inside = float(above) + step if above else float(least)
        outside = [float(above) if above else float(least) - step, *([float(below)] if below else [])]
        kept = int(inside) if whole else inside
        _validate(section, key, kept)
        for value in outside:
            with pytest.raises(ValueError, match=f"{key}: must be"):
                _validate(section, key, int(value) if whole else value)
        checked += 1
    assert checked > 15


def _validate(section, key, value):
    content = {name: dict(part) if isinstance(part, dict) else part for name, part in LEAST.items()}
    (content.setdefault(section, {}) if section else content)[key] = value
    if (section, key) in {("data", "page"), ("data", "channels")}:
        content["data"] |= {"folder": "f", "classes": ["a", "b"]}
        del content["data"]["name"]
    return Recipe.from_dict(content)


def test_the_page_on_data_names_the_keys_of_recipes_and_all_data_sets():
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    table = page[page.index("| your data | keys |") :].split("\n\n")[0]
    keys = set(re.findall(r"(\w+) = ", table))
    assert len(keys) > 8 and keys <= {key for section, key, _ in fields() if section == "data"}
    names = page[page.index("## Data sets that kseg knows") :]
    assert set(re.findall(r"^\| `(\w+)` \|", names, flags=re.MULTILINE)) == data.DATASETS.keys()
