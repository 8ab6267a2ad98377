"""Weights on disk: files that describe themselves, the table of released weights, and where to find them."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kseg.pretrained import published, release
    from kseg.pretrained.choice import another_builder, described, differences, meant
    from kseg.pretrained.file import HEADER, atomic_write, describe, order_of, read_order, save, weight_keys
    from kseg.pretrained.hub import push
    from kseg.pretrained.loading import aligned, load
    from kseg.pretrained.model import SegmentationModel, description_of
    from kseg.pretrained.published import PUBLISHED, Published
    from kseg.pretrained.release import RELEASES, Release
    from kseg.pretrained.repository import fetch_repository, repository_named
    from kseg.pretrained.source import fetch, find, locate, places, release_of
    from kseg.pretrained.terms import print_license

__all__ = [
    "HEADER",
    "PUBLISHED",
    "RELEASES",
    "Published",
    "Release",
    "SegmentationModel",
    "aligned",
    "another_builder",
    "atomic_write",
    "describe",
    "described",
    "description_of",
    "differences",
    "fetch",
    "fetch_repository",
    "find",
    "load",
    "locate",
    "meant",
    "order_of",
    "places",
    "print_license",
    "published",
    "push",
    "read_order",
    "release",
    "release_of",
    "repository_named",
    "save",
    "weight_keys",
]

# First those that import no backend.
_MODULES = ("release", "published", "file", "source", "terms", "hub", "repository", "model", "choice", "loading")


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    # Modules are imported on first use, so that `kseg weights list` imports no backend.
    if name in ("published", "release"):  # the modules that read and write the tables
        return importlib.import_module(f"kseg.pretrained.{name}")
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := importlib.import_module(f"kseg.pretrained.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module 'kseg.pretrained' has no attribute {name!r}")
