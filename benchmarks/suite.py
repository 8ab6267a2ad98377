"""A suite: one TOML file with the recipe that all models share, budgets, and what each model differs in."""

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
    """A suite under one of its budgets.

    Args:
        title: The file's name without its ending.
        budget: `"gpu"`, `"cpu"` or whatever the file calls it; empty where it has none.
        recipes: `{name: recipe}` in the file's order.
        test_time: `flip` and `scales` of `kseg.inference.Predictor` for the second column of scores; None for none.
        best: How many models are trained with more seeds, once every model has its row.
        seeds: Those seeds.
    """

    title: str
    budget: str
    recipes: dict[str, Recipe]
    test_time: dict[str, Any] | None = None
    best: int = 0
    seeds: tuple[int, ...] = ()


def load(suite: str | pathlib.Path, budget: str | None = None) -> Suite:
    """Reads a suite.

    A recipe is put together from `[recipe]`, which all share, `[budgets.NAME]`, and the model's own entry in
    `[[models]]`, later ones winning; tables are merged key by key. A model with a `budget` is left out under others.
    `extends` names a suite whose `[recipe]`, `[budgets]` and `[test_time]` come first.

    Args:
        suite: A name in `benchmarks/suites`, or a TOML file.
        budget: A name in the file's `[budgets]`; None takes `"gpu"` if the backend sees one, else `"cpu"`.

    Returns:
        The suite.

    Raises:
        FileNotFoundError: There is no such suite; near matches are named.
        ValueError: A recipe in it is wrong, or it has no such budget.
    """
    content = _content(suite)
    budgets = content.get("budgets", {})
    if budget is None and budgets:
        budget = "cpu" if machine.device().startswith("CPU") else "gpu"
    if budget is not None and budget not in budgets:
        known = f"there are {', '.join(budgets)}" if budgets else "it has none"
        raise ValueError(f"suite {str(suite)!r} has no budget {budget!r}: {known}")
    shared = _merged(content["recipe"], budgets.get(budget, {}))
    recipes = {}
    for model in content["models"]:
        if model.get("budget", budget) == budget:
            differences = {key: value for key, value in model.items() if key not in ("name", "budget")}
            source = f"{pathlib.Path(suite).stem}: {model['name']}"
            recipes[model["name"]] = Recipe.from_dict(_merged(shared, differences), source=source)
    seeds = content.get("seeds", {})
    if seeds.get("budget", budget) != budget:
        seeds = {}
    return Suite(
        title=pathlib.Path(suite).stem,
        budget=budget or "",
        recipes=recipes,
        test_time=content.get("test_time"),
        best=seeds.get("best", 0),
        seeds=tuple(seeds.get("seeds", ())),
    )


def budgets(suite: str | pathlib.Path) -> list[str | None]:
    """Names the budgets of a suite; None alone where it has none."""
    return list(_content(suite).get("budgets", {})) or [None]


def only(suite: Suite, names: Iterable[str]) -> Suite:
    """Leaves some models of a suite, and no further seeds.

    Args:
        suite: The suite.
        names: Names of models; none of them leaves the suite as it is.

    Returns:
        The suite with these alone.

    Raises:
        ValueError: There is no such model.
    """
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


def _merged(shared: dict[str, Any], differences: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, anything else is replaced."""
    result = dict(shared)
    for key, value in differences.items():
        result[key] = (
            _merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result
