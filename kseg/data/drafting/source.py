"""Where the images and labels of a folder are: what `FolderDataset` needs to open it, and what names speak for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kseg.data.annotations import Annotations

TOKENS = {
    "label": 3, "annot": 3, "gt": 3, "truth": 3, "manual": 3, "seg": 3, "trimap": 3, "trainids": 4, "mask": 2,
    "target": 2, "class": 1, "instance": -4, "object": -3, "color": -2, "rgb": -3, "vis": -3, "overlay": -5,
    "human": -3, "depth": -5, "image": -2, "img": -2, "sat": -1, "photo": -2, "jpeg": -2, "input": -2,
}  # fmt: skip
"""Parts of names of masks and what they speak for: above 0 that files are masks, below 0 that they are not."""


@dataclass
class Source:
    """How a folder is arranged.

    Args:
        options: Options of `FolderDataset`.
        images: Every image with labels.
        masks: Its mask; empty if there are annotations.
        annotations: The annotations of all files, if there are any.
        notes: What was found besides, one line per kind.
    """

    options: dict[str, Any]
    images: list[Path]
    masks: list[Path] = field(default_factory=list)
    annotations: list[Annotations] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def speaks_for_masks(name: str) -> int:
    """Returns how much a path or a name looks like that of masks: above 0, or below if it is one of images."""
    name = name.lower()
    return sum(weight for token, weight in TOKENS.items() if token in name)
