"""The table of well-known checkpoints that others published, `published.json`."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from kseg.pretrained.file import atomic_write

TABLE = pathlib.Path(__file__).with_name("published.json")


@dataclasses.dataclass(frozen=True)
class Published:
    """An entry of the table: what a checkpoint is, what it may be used for, and how to identify its file."""

    address: str
    """What `kseg.zoo.load` takes: `owner/name` of a repository on the Hugging Face hub, or `torchvision/NAME`."""
    builder: str
    encoder: str
    dataset: str
    classes: int
    miou: float | None
    """Mean IoU that its authors state for validation images at one scale, 0 to 1; None if they state none."""
    source: str | None
    """The page that states the mean IoU."""
    license: str | None
    """SPDX identifier or name of the license of the weights; None if its authors name none."""
    commercial: bool | None
    """Whether the license allows commercial use; None if that is not known."""
    license_source: str | None
    """The page that states the license."""
    revision: str | None = None
    """A commit of the repository, which `kseg.zoo.load("owner/name@REVISION")` reads; None if it was not looked up."""
    sha256: str | None = None
    """SHA-256 of the weight file at that commit, or its first digits; None if it was not looked up."""


def read(path: pathlib.Path = TABLE) -> dict[str, Published]:
    """Reads the table from JSON, `{address: {field: value}}`."""
    return {address: Published(address, **entry) for address, entry in json.loads(path.read_text("utf-8")).items()}


def write(table: Mapping[str, Published], path: pathlib.Path = TABLE) -> pathlib.Path:
    """Writes the table, sorted by builder and address, with one field per line."""
    entries = []
    for one in sorted(table.values(), key=lambda one: (one.builder, one.address)):
        fields = [(field.name, getattr(one, field.name)) for field in dataclasses.fields(Published)[1:]]
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields)
        entries.append(f" {json.dumps(one.address)}: {{\n{lines}\n }}")
    return atomic_write(path, ("{\n" + ",\n".join(entries) + "\n}\n").encode())


PUBLISHED = read()
