"""Errors of pydantic about a recipe, in one line and in the words of its keys."""

import difflib
from collections.abc import Mapping
from typing import Any

import pydantic

WORDS = {
    "int_type": "a whole number", "float_type": "a number", "string_type": "a text in quotes",
    "finite_number": "finite", "bool_type": "true or false", "tuple_type": "a list in brackets",
    "list_type": "a list in brackets", "iterable_type": "a list in brackets", "none_required": "left out",
    "dict_type": "a table", "model_type": "a table", "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more", "less_than": "less than {lt}", "literal_error": "{expected}",
    "too_long": "a list of {max_length} values",
}  # fmt: skip
"""What a value must be, by the type of an error of pydantic."""


def first_fault(error: pydantic.ValidationError, recipe: type[pydantic.BaseModel]) -> str:
    """Returns the first error of a recipe in one line. Unknown keys come first, as they also cause missing ones."""
    faults = error.errors(include_url=False)
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    fault = (unknown or faults)[0]
    sections: dict[Any, list[str]] = {
        name: list(getattr(field.annotation, "model_fields", ())) for name, field in recipe.model_fields.items()
    }
    place = list(fault["loc"])
    known, table = list(recipe.model_fields), "the top level"
    section = place[0] if place and sections.get(place[0]) else None
    if section is not None and (len(place) > 1 or fault["type"] != "missing"):
        known, table = sections[place.pop(0)], f"[{section}]"
    key = str(place[0]) if place else ""
    if unknown:
        return f"{table} has no key {key!r}: {_where(key, known, table, sections)}"
    if section is not None and fault["type"] == "missing" and len(place) == 1 and table == "the top level":
        return f"the section [{key}] is missing"
    if fault["type"] == "missing" and len(place) <= 1:
        return f"{table} is missing {key!r}"
    if fault["type"] == "value_error":
        return f"{table} {key}".strip() + f": {fault['msg'].removeprefix('Value error, ')}"
    length = 1 if section is None else 2
    same = [each for each in faults if each["loc"][:length] == fault["loc"][:length]]
    must, got = wanted(same)
    where = key if section is None else f"{table} {key}".strip()
    return f"{where}: must be {must}, got {got!r}"


def wanted(faults: list[Any]) -> tuple[str, Any]:
    """Returns what a value must be and what it is. A value of several types has an error for each of them."""

    def depth(fault: Any) -> int:  # the error about an element of a list says most
        return sum(isinstance(part, int) for part in fault["loc"])

    deepest = [fault for fault in faults if depth(fault) == max(map(depth, faults))]
    texts = [
        f"a list of {fault['loc'][-1] + 1} values"
        if fault["type"] == "missing"
        else WORDS[fault["type"]].format(**fault.get("ctx", {}))
        if fault["type"] in WORDS
        else fault["msg"]
        for fault in reversed(deepest)
    ]
    return " or ".join(dict.fromkeys(texts)), deepest[0]["input"]


def _where(key: str, known: list[str], table: str, sections: Mapping[str, list[str]]) -> str:
    """Returns what to do with a key that a table does not have."""
    if elsewhere := [name for name, keys in sections.items() if key in keys]:
        return f"it belongs to {' or '.join(f'[{name}]' for name in elsewhere)}"
    if key in sections and table != "the top level":
        return "it belongs to the top level, above the first [section]"
    if key == "weights" and "start" in known:
        return "did you mean 'start'?"
    if near := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(known)}"
