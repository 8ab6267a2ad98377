"""The table of released weights, `releases.json`; `python -m benchmarks release` writes it."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from kseg.pretrained.file import atomic_write

TABLE = pathlib.Path(__file__).with_name("releases.json")


@dataclasses.dataclass(frozen=True)
class Release:
    """An entry of the table: what the weights are, and how to identify their file."""

    name: str
    """`builder-encoder-dataset`, or `builder-dataset` if the builder has its own encoder; a suffix may follow."""
    builder: str
    arguments: dict[str, Any]
    """The keyword arguments of the builder, including `num_classes`."""
    file: str
    """The name of the file; its address is `name/file` on a server."""
    bytes: int
    sha256: str
    parameters: int
    dataset: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    miou: float
    """Mean IoU of this file on the test split of the data set at full size, 0 to 1."""
    pixel_accuracy: float
    license: str
    """SPDX identifier of the license, which the weights inherit from the data."""
    recipe: str
    """Hash of the recipe `zoo/NAME/recipe.toml`."""


def read(path: pathlib.Path = TABLE) -> dict[str, Release]:
    """Reads a table of released weights from JSON, `{name: {field: value}}`."""
    return {name: _release(name, **entry) for name, entry in json.loads(path.read_text("utf-8")).items()}


def _release(name: str, *, classes: list[str], palette: list[list[int]], **entry: Any) -> Release:
    return Release(name=name, classes=tuple(classes), palette=tuple((r, g, b) for r, g, b in palette), **entry)


def write(releases: Mapping[str, Release], path: pathlib.Path = TABLE) -> pathlib.Path:
    """Writes a table of released weights, sorted by name, with one field per line."""
    entries = []
    for name in sorted(releases):
        fields = [(field.name, getattr(releases[name], field.name)) for field in dataclasses.fields(Release)[1:]]
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields)
        entries.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return atomic_write(path, ("{\n" + ",\n".join(entries) + "\n}\n").encode())


RELEASES = read()
