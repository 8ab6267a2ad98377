"""A suite: one TOML file with the recipe that all models share, and what each of them differs in."""

import difflib
import pathlib
import tomllib
from typing import Any

from kseg.training import Recipe

SUITES = pathlib.Path(__file__).parent / "suites"


def recipes(suite: str | pathlib.Path) -> dict[str, Recipe]:
    """Reads a suite.

    Args:
        suite: A name in `benchmarks/suites`, or a TOML file. `[recipe]` is what all share; each `[[models]]` has a
            `name` and the recipe's tables as far as they differ.

    Returns:
        `{name: recipe}` in the file's order.

    Raises:
        FileNotFoundError: There is no such suite; near matches are named.
        ValueError: A recipe in it is wrong.
    """
    path = pathlib.Path(suite) if str(suite).endswith(".toml") else SUITES / f"{suite}.toml"
    if not path.is_file():
        names = sorted(file.stem for file in SUITES.glob("*.toml"))
        near = difflib.get_close_matches(str(suite), names) or names
        raise FileNotFoundError(f"no suite {str(suite)!r}: did you mean {' or '.join(near)}?")
    content = tomllib.loads(path.read_text())
    found = {}
    for model in content["models"]:
        differences = {key: value for key, value in model.items() if key != "name"}
        found[model["name"]] = Recipe.from_dict(_merged(content["recipe"], differences))
    return found


def _merged(shared: dict[str, Any], differences: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, anything else is replaced."""
    result = dict(shared)
    for key, value in differences.items():
        result[key] = (
            _merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result
