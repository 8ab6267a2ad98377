"""Weights on disk: self-describing files, the table of those released, and where to find them."""

from kseg.pretrained.file import HEADER, atomic_write, describe, save, weight_keys
from kseg.pretrained.loading import load, resolve
from kseg.pretrained.model import SegmentationModel
from kseg.pretrained.options import builder
from kseg.pretrained.release import RELEASES, Release
from kseg.pretrained.source import fetch, find, locate, places, release_of

__all__ = [
    "HEADER",
    "RELEASES",
    "Release",
    "SegmentationModel",
    "atomic_write",
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
]
