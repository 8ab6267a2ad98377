"""Weights on disk: self-describing files, the table of those released, and where to find them."""

from kseg.pretrained.file import HEADER, describe, save, weight_keys, write_aside
from kseg.pretrained.loading import load, resolve
from kseg.pretrained.options import builder
from kseg.pretrained.release import RELEASES, Release
from kseg.pretrained.source import fetch, find, locate, places, release_of

__all__ = [
    "HEADER",
    "RELEASES",
    "Release",
    "builder",
    "describe",
    "fetch",
    "find",
    "load",
    "locate",
    "places",
    "release_of",
    "resolve",
    "save",
    "weight_keys",
    "write_aside",
]
