"""Checks every file of a data set before training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kseg.data.dataset import Dataset
from kseg.data.folder import FolderDataset, open_image
from kseg.data.masks import IGNORE


@dataclass(frozen=True)
class Report:
    """The result of `check`; `print(report)` shows it.

    Args:
        name: Name of the data set and its split.
        images: Number of images.
        problems: What must be fixed before training, one line per problem.
        notes: Further information, one line per note.
        pixels: Number of labeled pixels of each class.
        occurrences: Number of images in which each class occurs.
        classes: Class names.
    """

    name: str
    images: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    pixels: tuple[int, ...]
    occurrences: tuple[int, ...]
    classes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        width, total = max(len(name) for name in self.classes), max(1, sum(self.pixels))
        lines = [
            f"{self.name}: {self.images} images, {len(self.classes)} classes",
            f"  {'class':{width + 4}} pixels   images",
        ]
        for index, (name, pixels, images) in enumerate(zip(self.classes, self.pixels, self.occurrences, strict=True)):
            lines.append(f"  {index:3d} {name:{width}} {100 * pixels / total:5.1f} %   {images:6d}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*lines, "ok" if self.ok else f"{len(self.problems)} problems"])


def check(dataset: Dataset) -> Report:
    """Reads every image and mask of a data set and reports what is wrong.

    Args:
        dataset: The data set. The files of a `FolderDataset` are checked one by one, other data sets by their pairs.

    Returns:
        A report of images without a mask, masks without an image, different sizes, mask values that are no class (with
        pixel counts and file names), unreadable files, color masks without a palette, and empty folders.

    Example:
        >>> from kseg import data
        >>> report = data.check(data.streets("val", count=2))
        >>> report.ok, report.problems
        (True, ())
    """
    survey = _Survey(dataset)
    if len(dataset) == 0:
        place = f" in {dataset.image_folder}" if isinstance(dataset, FolderDataset) else ""
        survey.problems.append(f"there are no images{place}")
    if isinstance(dataset, FolderDataset):
        survey.partners(dataset)
        for image in dataset.images:
            survey.files(dataset, image, dataset.mask_of[image])
    else:
        for index in range(len(dataset)):
            survey.pair(index)
    return survey.report()


class _Survey:
    """Collects problems and counts while the data set is read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.problems: list[str] = []
        self.pixels = np.zeros(len(dataset.classes), np.int64)
        self.occurrences = np.zeros(len(dataset.classes), np.int64)
        self.strays: dict[str, Counter[str]] = {}  # mask value to the number of pixels in each file
        self.kinds: Counter[str] = Counter()
        self.white: list[str] = []  # masks that look black-and-white
        self.lossy: list[str] = []
        self.void_is_stated = isinstance(dataset, FolderDataset) and dataset.reader.void_is_255

    def partners(self, dataset: FolderDataset) -> None:
        missing = [image.name for image in dataset.images if dataset.mask_of[image] is None]
        for names, text in (
            (missing, f"without a mask of the same name in {dataset.mask_folder}"),
            (dataset.missing, f"listed in {dataset.split}.txt but not in {dataset.image_folder}"),
            ([path.name for path in dataset.masks_without_image], f"in {dataset.mask_folder} without an image"),
            ([path.name for path in dataset.duplicates], "with the same name as a file of another type"),
        ):
            if names:
                self.problems.append(f"{len(names)} {text}: {_some(names)}")

    def files(self, dataset: FolderDataset, image: Path, mask: Path | None) -> None:
        shape = label = None
        try:
            shape = dataset.read_image(image).shape[:2]
        except (ValueError, OSError) as error:
            self.problems.append(str(error))
        if mask is None:
            return
        try:
            raw = dataset.reader.raw(mask)
            with open_image(mask) as opened:
                self.kinds[opened.mode] += 1
            label, strays = dataset.reader.translate(raw)
        except (ValueError, OSError) as error:
            self.problems.append(str(error))
            return
        if dataset.reader.looks_black_and_white(raw):
            self.white.append(mask.name)
        if mask.suffix.lower() in (".jpg", ".jpeg"):
            self.lossy.append(mask.name)
        if shape is not None and shape != label.shape:
            self.problems.append(f"{mask}: the mask is {label.shape} but its image {image.name} is {shape}")
        self.count(mask.name, label, strays)

    def pair(self, index: int) -> None:
        name = self.dataset.identifier(index)
        try:
            image, label = self.dataset.read(index)
        except (ValueError, OSError) as error:
            self.problems.append(str(error))
            return
        if image.shape[:2] != label.shape:
            self.problems.append(f"{name}: the label is {label.shape} but the image is {image.shape[:2]}")
        values, counts = np.unique(label, return_counts=True)
        found = dict(zip(values.tolist(), counts.tolist(), strict=True))
        known = {*range(len(self.pixels)), IGNORE}
        self.count(name, label, {str(value): count for value, count in found.items() if value not in known})

    def count(self, name: str, label: np.ndarray, strays: Mapping[str, int]) -> None:
        for value, number in strays.items():
            self.strays.setdefault(value, Counter())[name] += number
        pixels = np.bincount(label.reshape(-1), minlength=IGNORE + 1)[: len(self.pixels)]
        self.pixels += pixels
        self.occurrences += pixels > 0

    def report(self) -> Report:
        classes = self.dataset.classes
        for value, files in self.strays.items():
            self.problems.append(
                f"mask value {value} is none of the {len(classes)} classes: {files.total()} pixels in "
                f"{len(files)} masks ({_some(list(files))}); correct the masks, add it to classes, or to ignore"
            )
        if self.strays and self.lossy:
            self.problems.append(f"masks saved as JPEG cannot keep class ids, save them as PNG: {_some(self.lossy)}")
        if self.white and (not self.void_is_stated or self.pixels[1] == 0):
            self.problems.append(
                f"{len(self.white)} masks contain only 0 and 255, and 255 means ignore: {_some(self.white)}; "
                "for black-and-white masks set values = [0, 255], for void set ignore = [255]"
            )
        notes = []
        if palettes := self.kinds["P"]:
            notes.append(f"{palettes} masks are palette PNGs: their indices are the class ids, colors are ignored")
        if colors := self.kinds["RGB"] + self.kinds["RGBA"]:
            notes.append(f"{colors} masks are RGB: the palette maps colors to class ids")
        absent = [name for name, pixels in zip(classes, self.pixels, strict=True) if pixels == 0]
        if absent and len(self.dataset):
            notes.append(f"classes that never occur: {', '.join(absent)}")
        split = getattr(self.dataset, "split", None)
        return Report(
            name=f"{self.dataset.name} ({split})" if split else self.dataset.name,
            images=len(self.dataset),
            problems=tuple(self.problems),
            notes=tuple(notes),
            pixels=tuple(self.pixels.tolist()),
            occurrences=tuple(self.occurrences.tolist()),
            classes=classes,
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
