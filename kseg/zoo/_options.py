"""Calls with an option that a function does not have: one error names it and those that exist."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def unknown_option(name: str, option: str, known: Iterable[str]) -> str:
    """Returns the message of the error about an option that `name` does not have.

    Example:
        >>> unknown_option("load()", "heads", ["num_classes", "head"])
        "load() has no option 'heads': did you mean 'head'? It has num_classes, head"
    """
    known = list(known)
    near = difflib.get_close_matches(option, known, n=1)
    hint = f"did you mean {near[0]!r}? It" if near else "it"
    return f"{name} has no option {option!r}: {hint} has {', '.join(known)}"


def checks_options(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Makes a function raise a TypeError that names its options if it is called with one that it does not have.

    Example:
        >>> checks_options(lambda *, head: head)(heads=1)
        Traceback (most recent call last):
        ...
        TypeError: <lambda>() has no option 'heads': did you mean 'head'? It has head
    """
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        for option in options.keys() - known.keys():
            raise TypeError(unknown_option(f"{function.__name__}()", option, known))
        return function(*args, **options)

    return checked
