"""What released weights inherit from their data and their initial weights: license, terms, limits."""

import dataclasses
import pathlib
import tomllib

from kseg import pretrained


@dataclasses.dataclass(frozen=True)
class Source:
    """An entry of `sources.toml`."""

    title: str
    license: str
    terms: str
    origin: str
    limits: str
    void: bool


_CONTENT = tomllib.loads(pathlib.Path(__file__).with_suffix(".toml").read_text("utf-8"))
SOURCES = {name: Source(**entry) for name, entry in _CONTENT.items()}
LICENSES = ("CC0-1.0", "Apache-2.0", "CC-BY-NC-4.0")
"""From the most to the least permissive."""


def inherited_license(dataset: str, start: str | None) -> str:
    """Returns the stricter license of the data and of the released weights with which training started, if any."""
    inherited = [SOURCES[dataset].license, *([pretrained.RELEASES[start].license] if start else [])]
    return max(inherited, key=LICENSES.index)
