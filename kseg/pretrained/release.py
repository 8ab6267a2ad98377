"""The table of released weights: `releases.json`, which `python -m benchmarks release` writes."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from kseg.pretrained.file import atomic_write

TABLE = pathlib.Path(__file__).with_name("releases.json")


@dataclasses.dataclass(frozen=True)
class Release:
    """Trained weights that have a name: what they are, and how to know the file."""

    name: str
    """`builder-encoder-dataset`, or `builder-dataset` where the builder has its own encoder; more may stand behind."""
    builder: str
    arguments: dict[str, Any]
    """The builder's keyword arguments, `num_classes` included."""
    file: str
    """The file's name; its address is `name/file` below a server's."""
    bytes: int
    sha256: str
    parameters: int
    dataset: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    miou: float
    """Of this file, on the data set's test split at full size, 0 to 1."""
    pixel_accuracy: float
    licence: str
    """Of the weights, which inherit it from the data: an SPDX identifier."""
    recipe: str
    """The recipe's hash; the recipe itself is `zoo/NAME/recipe.toml`."""


def read(path: pathlib.Path = TABLE) -> dict[str, Release]:
    """Reads a table of released weights.

    Args:
        path: A JSON file, `{name: {field: value}}`.

    Returns:
        `{name: release}`, in the file's order.

    Example:
        >>> read()["unet-efficientnet_lite0-camvid"].licence
        'CC-BY-NC-4.0'
    """
    return {name: _release(name, **entry) for name, entry in json.loads(path.read_text("utf-8")).items()}


def _release(name: str, *, classes: list[str], palette: list[list[int]], **entry: Any) -> Release:
    return Release(name=name, classes=tuple(classes), palette=tuple((r, g, b) for r, g, b in palette), **entry)


def write(releases: Mapping[str, Release], path: pathlib.Path = TABLE) -> pathlib.Path:
    """Writes a table of released weights, a field a line, in the order of the names.

    Args:
        releases: `{name: release}`.
        path: The JSON file.

    Returns:
        The file's path.

    Raises:
        OSError: The file cannot be written; the old one stays.
    """
    entries = []
    for name in sorted(releases):
        fields = [(field.name, getattr(releases[name], field.name)) for field in dataclasses.fields(Release)[1:]]
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields)
        entries.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return atomic_write(path, ("{\n" + ",\n".join(entries) + "\n}\n").encode())


RELEASES = read()
