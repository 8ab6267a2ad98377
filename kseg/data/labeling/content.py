"""What the files of all labeling tools contain: images with labeled regions."""

from collections import Counter
from dataclasses import dataclass, field

from kseg.data.labeling.regions import Region


@dataclass
class Picture:
    """The labels of one image: its names, its height and width if the file has them, its objects."""

    names: tuple[str, ...]
    size: tuple[int, int] | None
    objects: list[tuple[str, Region]] = field(default_factory=list)


@dataclass
class Labels:
    """The content of annotation files.

    `categories` are the names that the file lists; names that only occur at objects follow. `skipped` counts what has
    no area, by kind.
    """

    kind: str
    categories: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    complete: bool = True
    """Whether the file lists all categories, also those without objects."""

    def add(self, picture: Picture, name: object, region: Region, kind: str) -> None:
        """Adds an object to a picture, or counts it if it has no area."""
        name = str(name).strip()
        if name not in self.categories:
            self.categories.append(name)
        if region.is_empty:
            self.skipped[f"objects of type {kind}, which have no area"] += 1
        else:
            picture.objects.append((name, region))
