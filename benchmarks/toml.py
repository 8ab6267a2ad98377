"""A recipe as TOML, which the standard library reads but does not write."""

import json
import re
from typing import Any

from kseg.training import Recipe


def text(recipe: Recipe, *, leave_out: tuple[str, ...] = ()) -> str:
    """Writes a recipe with its defaults, so that it means the same when they change.

    Args:
        recipe: The recipe.
        leave_out: Keys of `[model]` that its builder does not have.

    Returns:
        TOML that `Recipe.from_toml` reads.
    """
    content = recipe.model_dump(mode="json")
    content["model"] = {key: value for key, value in content["model"].items() if key not in leave_out}
    lines = [_line(key, value) for key, value in content.items() if not isinstance(value, dict) and _said(value)]
    for table, values in content.items():
        if isinstance(values, dict):
            lines += ["", f"[{table}]", *(_line(key, value) for key, value in values.items() if _said(value))]
    return "\n".join(lines) + "\n"


def _said(value: Any) -> bool:
    return value is not None and value not in ([], {})


def _line(key: str, value: Any) -> str:
    return f"{key if re.fullmatch('[A-Za-z0-9_-]+', key) else json.dumps(key)} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(_line(key, item) for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
