"""Weights on disk: files that describe themselves, the table of released weights, and where to find them."""

from kseg.pretrained.choice import described, differences, meant
from kseg.pretrained.file import HEADER, atomic_write, describe, save, weight_keys
from kseg.pretrained.loading import load
from kseg.pretrained.model import SegmentationModel, description_of
from kseg.pretrained.release import RELEASES, Release
from kseg.pretrained.source import fetch, find, locate, places, release_of

__all__ = [
    "HEADER",
    "RELEASES",
    "Release",
    "SegmentationModel",
    "atomic_write",
    "describe",
    "described",
    "description_of",
    "differences",
    "fetch",
    "find",
    "load",
    "locate",
    "meant",
    "places",
    "release_of",
    "save",
    "weight_keys",
]
