"""A suite: a TOML file with the recipe that all models share, its budgets, and the differences of each model."""

import dataclasses
import difflib
import pathlib
import tomllib
from collections.abc import Iterable
from typing import Any

from benchmarks import machine
from kseg.training import Recipe

SUITES = pathlib.Path(__file__).parent / "suites"


@dataclasses.dataclass(frozen=True)
class Suite:
    """A suite under one of its budgets: `{name: recipe}` in the file's order.

    `test_time` holds `flip` and `scales` of `kseg.inference.Predictor` for the second column of scores. Once every
    model has been trained, those in `repeated`, `{name: seeds}`, are trained again with these seeds; once all have
    their rows, the best models, `best` in number, with each of the `seeds`. A suite that searches for a recipe scores
    on the validation split, `split = "val"`, and never reads the test images.
    """

    title: str
    budget: str
    recipes: dict[str, Recipe]
    test_time: dict[str, Any] | None = None
    repeated: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    best: int = 0
    seeds: tuple[int, ...] = ()
    split: str = "test"

    def on(self, devices: int | None) -> "Suite":
        """Returns the suite with recipes for so many devices; None changes nothing."""
        return dataclasses.replace(
            self, recipes={name: each.on(devices=devices) for name, each in self.recipes.items()}
        )


def load(suite: str | pathlib.Path, budget: str | None = None) -> Suite:
    """Reads a suite: the name of one in `benchmarks/suites`, or a TOML file.

    A recipe is merged key by key from `[recipe]`, `[budgets.NAME]` and the model's entry in `[[models]]`; later values
    replace earlier ones. A model with a `budget` belongs to that budget only; one with `seeds` is repeated. `extends`
    names a suite whose `[recipe]`, `[budgets]` and `[test_time]` are merged first. Without a budget, it is `"gpu"` if
    the backend has a GPU, else `"cpu"`.
    """
    content = _content(suite)
    budgets = content.get("budgets", {})
    if budget is None and budgets:
        budget = "cpu" if machine.device().startswith("CPU") else "gpu"
    if budget is not None and budget not in budgets:
        known = f"there are {', '.join(budgets)}" if budgets else "it has none"
        raise ValueError(f"suite {str(suite)!r} has no budget {budget!r}: {known}")
    shared = _merged(content["recipe"], budgets.get(budget, {}))
    recipes, repeated = {}, {}
    for model in content["models"]:
        if model.get("budget", budget) == budget:
            repeated[model["name"]] = tuple(model.get("seeds", ()))
            differences = {key: value for key, value in model.items() if key not in ("name", "budget", "seeds")}
            source = f"{pathlib.Path(suite).stem}: {model['name']}"
            recipes[model["name"]] = Recipe.from_dict(_merged(shared, differences), source=source)
    _check_distinct(recipes, f"suite {str(suite)!r}, budget {budget or 'none'}")
    split = content.get("split", "test")
    seeds = content.get("seeds", {})
    return Suite(
        title=pathlib.Path(suite).stem,
        budget=budget or "",
        recipes=recipes,
        test_time=content.get("test_time") if split == "test" else None,
        repeated=repeated,
        best=seeds.get("best", 0),
        seeds=tuple(seeds.get("seeds", ())),
        split=split,
    )


def _check_distinct(recipes: dict[str, Recipe], place: str) -> None:
    """Raises a ValueError if two models have one recipe, since the row of the first would count as that of both."""
    first: dict[str, str] = {}
    for name, recipe in recipes.items():
        if (other := first.setdefault(recipe.hash(), name)) != name:
            raise ValueError(
                f"{place}: {other!r} and {name!r} have the same recipe; give one of them a budget or remove it"
            )


def budgets(suite: str | pathlib.Path) -> list[str | None]:
    """Returns the names of the budgets of a suite, or `[None]` if it has none."""
    return list(_content(suite).get("budgets", {})) or [None]


def only(suite: Suite, names: Iterable[str]) -> Suite:
    """Returns a suite with the named models only, without more seeds of the best; without names, the suite as it is."""
    names = list(names)
    for name in names:
        if name not in suite.recipes:
            raise ValueError(f"suite {suite.title!r} has no model {name!r}: there are {', '.join(suite.recipes)}")
    if not names:
        return suite
    kept = {name: recipe for name, recipe in suite.recipes.items() if name in names}
    return dataclasses.replace(suite, recipes=kept, best=0, seeds=())


def _content(suite: str | pathlib.Path) -> dict[str, Any]:
    path = pathlib.Path(suite) if str(suite).endswith(".toml") else SUITES / f"{suite}.toml"
    if not path.is_file():
        names = sorted(file.stem for file in SUITES.glob("*.toml"))
        near = difflib.get_close_matches(str(suite), names) or names
        raise FileNotFoundError(f"no suite {str(suite)!r}: did you mean {' or '.join(near)}?")
    content = tomllib.loads(path.read_text())
    if "extends" not in content:
        return content
    first = {key: value for key, value in _content(content["extends"]).items() if key != "seeds"}
    return _merged(first, content)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merges two tables key by key; other values of the second replace those of the first."""
    both = {key for key, value in second.items() if isinstance(value, dict) and isinstance(first.get(key), dict)}
    return first | second | {key: _merged(first[key], second[key]) for key in both}
