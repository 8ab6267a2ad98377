"""Extension of griffe, which reads docstrings for the site."""

import importlib
import inspect
import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Reads the docstrings that Python has at run time, in the form that griffe knows.

    The docstrings of builders get the arguments that all builders share when kseg is imported. The section `Example:`
    of this project is called `Examples:` in griffe, which shows it as code.
    """

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replaces the docstring of one object."""
        if obj.is_function and obj.parent is not None and obj.parent.is_module:
            function = getattr(importlib.import_module(obj.parent.path), obj.name, None)
            if text := inspect.getdoc(function):
                obj.docstring = griffe.Docstring(text, parent=obj)
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
