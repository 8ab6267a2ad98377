"""The `options` of a recipe, arguments of builders, losses and data sets: mistakes are errors that name the option."""

import difflib
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pydantic

from kseg.training.recipe_faults import wanted


def refuse_unknown(place: str, options: Iterable[str], owner: str, known: Collection[str]) -> None:
    """Raises a ValueError for the first option that is not among the known ones of a builder or data set."""
    for name in options:
        if name not in known:
            raise ValueError(f"{place}: {owner} has no option {name!r}{near(name, known)}")


def refuse_misplaced(table: str, options: Iterable[str], section: type[pydantic.BaseModel]) -> None:
    """Raises a ValueError for the first option that is a key of its table itself."""
    for name in options:
        if name in section.model_fields:
            raise ValueError(f"{table} options: {name} is a key of {table} itself, not one of options")


def refuse_mistyped(place: str, options: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Raises a ValueError for the first option whose value has another type than the parameter of a function.

    Parameters without an annotation, or with one that pydantic does not know, take any value.
    """
    parameters = inspect.signature(function).parameters
    for name, value in options.items():
        kind = parameters[name].annotation if name in parameters else Any
        if kind is inspect.Parameter.empty:
            continue
        try:
            adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind, config={"arbitrary_types_allowed": True})
        except pydantic.PydanticUserError:
            continue
        try:  # JSON has one kind of list, as TOML
            adapter.validate_json(json.dumps(value), strict=True)
        except pydantic.ValidationError as error:
            must, got = wanted(error.errors(include_url=False))
            raise ValueError(f"{place}: {name} must be {must}, got {got!r}") from None


def near(name: str, known: Collection[str]) -> str:
    """Returns the end of an error message: the known names most similar to a misspelled one."""
    similar = difflib.get_close_matches(name, known, n=2, cutoff=0.5) or known
    return f": did you mean {' or '.join(similar)}?"
