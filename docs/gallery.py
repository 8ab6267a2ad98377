"""The code blocks of gallery.md: each draws the picture that follows it, after the first block, which all share."""

import contextlib
import functools
import pathlib
import re
import tempfile
from typing import Any

import numpy as np

PAGE = pathlib.Path(__file__).with_name("gallery.md")
_BLOCK = re.compile(
    r"^```python\n(?P<code>(?:(?!^```).*\n)+)```\n(?:\n!\[[^]]+]\(images/(?P<name>\w+)\.png\))?", re.MULTILINE
)


def names() -> list[str]:
    """Returns the names of the pictures, such as `"gallery_overlay"`, in their order."""
    return [name for name, _ in _blocks() if name]


def picture(name: str) -> np.ndarray:
    """Runs the block of a picture in an empty folder, and returns what it assigns to `picture`."""
    (code,) = (code for block, code in _blocks() if block == name)
    names = dict(_start())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(compile(code, f"{PAGE.name}, {name}", "exec"), names)
    found: np.ndarray = names["picture"]
    return found


def _blocks() -> list[tuple[str | None, str]]:
    return [(found["name"], found["code"]) for found in _BLOCK.finditer(PAGE.read_text("utf-8"))]


@functools.cache
def _start() -> dict[str, Any]:
    """Runs the first block; returns the names that it defines."""
    names: dict[str, Any] = {}
    (_, code), *_ = _blocks()
    exec(compile(code, PAGE.name, "exec"), names)
    return names
