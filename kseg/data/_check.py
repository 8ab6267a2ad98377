"""Checks every file of a data set before training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseg.classes import printable
from kseg.data.annotations import Annotations
from kseg.data.dataset import Dataset, other_channels
from kseg.data.files import ROUNDED
from kseg.data.finding.messages import below, by_kind, counted, some
from kseg.data.folder import FolderDataset
from kseg.data.masks import IGNORE, MaskReader, check_type
from kseg.data.picture import check_values, read_picture


@dataclass(frozen=True)
class Report:
    """The result of `check`; `print(report)` shows it.

    Args:
        name: Name of the data set and its split.
        images: Number of images.
        problems: What must be fixed before training, one line per kind of problem.
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
            f"{self.name}: {counted(self.images, 'image')}, {len(self.classes)} classes",
            f"  {'class':{width + 4}} pixels   images",
        ]
        for index, (name, pixels, images) in enumerate(zip(self.classes, self.pixels, self.occurrences, strict=True)):
            lines.append(f"  {index:3d} {name:{width}} {100 * pixels / total:5.1f} %   {images:6d}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*lines, "ok" if self.ok else counted(len(self.problems), "problem")])


def check(dataset: Dataset) -> Report:
    """Reads every image and mask of a data set and reports what is wrong.

    Args:
        dataset: The data set. The files of a `FolderDataset` are checked one by one, other data sets by their pairs.

    Returns:
        A report of images without a mask, masks without an image, different sizes, mask values that are no class (with
        pixel counts and file names), unreadable files, color masks without a palette, empty folders, and files that
        are not read. A kind of problem is one line with the number of files and the first names.

    Example:
        >>> from kseg import data
        >>> report = data.check(data.streets("val", count=2))
        >>> report.ok, report.problems
        (True, ())
    """
    survey = _Survey(dataset)
    if len(dataset) == 0:
        place = f" in {dataset.list or dataset.image_folder}" if isinstance(dataset, FolderDataset) else ""
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
        self.notes: list[str] = []
        self.faults: list[tuple[str, str]] = []  # file and reason
        self.pixels = np.zeros(len(dataset.classes), np.int64)
        self.occurrences = np.zeros(len(dataset.classes), np.int64)
        self.strays: dict[str, Counter[str]] = {}  # mask value to the number of pixels in each file
        self.colored = 0  # masks that are decoded by the palette
        self.white: list[str] = []  # masks that look black-and-white
        self.void = 0  # other masks with 255
        self.void_pixels = self.all_pixels = 0
        self.lossy: list[str] = []
        self.dtype: np.dtype[Any] | None = None  # of the first image
        self.channels: int | None = None
        self.doubts: dict[str, list[str]] = {}  # what is doubtful about images to their names

    def partners(self, dataset: FolderDataset) -> None:
        images, masks = dataset.image_folder, dataset.mask_folder
        absent = (f"mask in {masks} has", f"masks in {masks} have", "no image")
        if dataset.annotations is not None:
            absent = ("annotated image is", "annotated images are", f"not in {images}")
        alone = [image for image in dataset.images if dataset.mask_of[image] is None]
        same = "not read, because others have the same name"
        rows: list[tuple[Sequence[Path | str], str, str, str, str]] = [
            (alone, "image has", "images have", f"{dataset.no_mask} in {masks}", dataset.cure),
            (dataset.missing, "name is", "names are", f"listed in {dataset.list} but not in {images}", ""),
            (dataset.masks_without_image, *absent, ""),
            *((files, "file is", "files are", same, cure) for files, cure in dataset.duplicates),
        ]
        for files, one, many, rest, cure in rows:
            if files:
                subject, names = one if len(files) == 1 else many, some(below(files, images, masks))
                self.problems.append(f"{len(files)} {subject} {rest} ({names}){cure}")
        if dataset.left_out:
            self.notes.append(dataset.left_out_note)
        self.notes += dataset.unread

    def fault(self, file: Path | str, error: Exception | str) -> None:
        """Records what is wrong with a file."""
        reason = str(error) if isinstance(error, str | ValueError | OSError) else f"{type(error).__name__}: {error}"
        self.faults.append((str(file), reason))

    def files(self, dataset: FolderDataset, image: Path, mask: Path | None) -> None:
        shape = label = None
        try:
            picture = read_picture(image, dataset.pixels, on_warning=self.doubt)
            shape, self.dtype = picture.shape[:2], self.dtype or picture.dtype
            if self.dtype == np.uint8 and picture.dtype != np.uint8:
                self.doubt(str(image), ROUNDED)
        except Exception as error:  # decoders raise errors of many types
            self.fault(image, error)
        if mask is None:
            return
        if dataset.annotations is not None:
            self.annotated(dataset.annotations, image, shape)
            return
        try:
            raw = dataset.reader.raw(mask)
            label, strays = dataset.reader.translate(raw)
        except Exception as error:
            self.fault(mask, error)
            return
        self.colored += raw.ndim == 3
        if dataset.reader.looks_black_and_white(raw):
            self.white.append(mask.name)
        elif raw.ndim == 2 and (raw == IGNORE).any():
            self.void += 1
        if mask.suffix.lower() in (".jpg", ".jpeg"):
            self.lossy.append(mask.name)
        if shape is not None and shape != label.shape:
            self.fault(mask, f"the mask is {_size(label.shape)} but its image is {_size(shape)}")
        self.count(mask.name, label, strays)

    def annotated(self, annotations: Annotations, image: Path, shape: tuple[int, ...] | None) -> None:
        if shape is None:
            return
        try:
            self.count(image.name, annotations.label(image, (shape[0], shape[1])), {})
        except Exception as error:
            self.fault(image, error)

    def pair(self, index: int) -> None:
        name = self.dataset.identifier(index)
        try:
            image, label = map(np.asarray, self.dataset.read(index))
            if image.shape[:2] != label.shape:
                self.fault(name, f"the label is {label.shape} but the image is {image.shape[:2]}")
            if label.ndim == 2:
                check_type(label, name)
                self.void += bool((label == IGNORE).any())
                self.count(name, *MaskReader(self.dataset.classes).translate(label))
            check_values(image, name, self.doubt)
            self.channels = self.channels or image.shape[2]
            if image.shape[2] != self.channels:
                self.fault(name, other_channels(name, image.shape[2], self.channels))
        except Exception as error:  # those of a `read` of one's own
            self.fault(name, error)

    def doubt(self, name: str, doubt: str) -> None:
        self.doubts.setdefault(doubt, []).append(Path(name).name)

    def count(self, name: str, label: np.ndarray, strays: Mapping[str, int]) -> None:
        for value, number in strays.items():
            self.strays.setdefault(value, Counter())[name] += number
        counts = np.bincount(label.reshape(-1), minlength=IGNORE + 1)
        pixels = counts[: len(self.pixels)]
        self.void_pixels += int(counts[IGNORE]) - sum(strays.values())
        self.all_pixels += label.size
        self.pixels += pixels
        self.occurrences += pixels > 0

    def report(self) -> Report:
        classes, problems = self.dataset.classes, self.problems
        problems += by_kind(self.faults)
        if self.strays:
            problems.append(self._stray_values())
        if self.strays and self.lossy:
            problems.append(f"masks saved as JPEG cannot keep class ids, save them as PNG: {some(self.lossy)}")
        self._report_void()
        notes = self.notes
        notes += [f"{counted(len(names), 'image')}: {doubt} ({some(names)})" for doubt, names in self.doubts.items()]
        if self.colored:
            notes.append(f"{counted(self.colored, 'mask')} decoded by the palette, which maps colors to class ids")
        if self.void_pixels:
            notes.append(f"{100 * self.void_pixels / self.all_pixels:.1f} % of the pixels are void")
        absent = [name for name, pixels in zip(classes, self.pixels, strict=True) if pixels == 0]
        if absent and len(self.dataset):
            notes.append(self._absent(absent))
        split = getattr(self.dataset, "split", None)
        worded = getattr(self.dataset, "worded", str)
        return Report(
            name=f"{self.dataset.name} ({split})" if split else self.dataset.name,
            images=len(self.dataset),
            problems=tuple(printable(worded(line)) for line in problems),
            notes=tuple(printable(worded(line)) for line in notes),
            pixels=tuple(self.pixels.tolist()),
            occurrences=tuple(self.occurrences.tolist()),
            classes=classes,
        )

    def _report_void(self) -> None:
        """Reports that 255 is more likely the foreground than void."""
        if not isinstance(self.dataset, FolderDataset):
            if text := self.dataset.only_void(foreground=bool(self.pixels[1:].any()), void=self.void > 0):
                self.problems.append(text)
        elif self.white and len(self.white) >= self.void and not (self.strays and IGNORE in self._values()):
            text = self.dataset.reader.black_and_white()
            self.problems.append(f"{counted(len(self.white), 'mask')} ({some(self.white)}): {text}")
        elif self.dataset.reader.void_is_255 and self.void and not self.pixels[1:].any():
            self.problems.append(
                f"{counted(self.void, 'mask')} with 255, which is void by ignore=[255], and none with a class above 0: "
                f"if 255 is a class, give {self.dataset.reader.two_values()} and leave 255 out of ignore="
            )

    def _values(self) -> list[int]:
        """Returns the values of all masks if there are as many as classes, such as 0, 128 and 255, or 1 and 2."""
        if not isinstance(self.dataset, FolderDataset) or not all(value.isdigit() for value in self.strays):
            return []
        reader = self.dataset.reader
        levels = {value for value, target in reader.of_value.items() if target < IGNORE and self.pixels[target]}
        if (self.void or self.white) and not reader.void_is_255:  # stated to be void
            levels.add(IGNORE)
        return reader.values_of(np.array(sorted(levels | set(map(int, self.strays)))))

    def _absent(self, absent: list[str]) -> str:
        """Returns the note about classes that never occur, one of which may be the value 255."""
        text, values, given = f"classes that never occur: {', '.join(absent)}", self._values(), self.dataset
        if isinstance(given, FolderDataset) and given.reader.values_given and IGNORE in values and len(absent) == 1:
            return f"{text}; 255 does, and is void: if it is this class, give values={values}"
        return text

    def _stray_values(self) -> str:
        most = 5
        shown = [
            f"{value} ({counted(files.total(), 'pixel')} in {counted(len(files), 'mask')})"
            for value, files in list(self.strays.items())[:most]
        ]
        more = f" and {len(self.strays) - most} more" if len(self.strays) > most else ""
        files = list(dict.fromkeys(file for files in self.strays.values() for file in files))
        ignored = ", ".join(value.replace("(", "[").replace(")", "]") for value in self.strays)
        few = len(self.strays) <= most and not any("." in value or "n" in value for value in self.strays)
        cure = f"give ignore=[{ignored}]" if few else "see whether they need values= or palette="
        if not isinstance(self.dataset, FolderDataset):
            cure = "return 255 for void from read"
        elif values := self._values():
            cure = f"{cure}; if these are the classes, give values={values}"
        return (
            f"mask values {', '.join(shown)}{more} are none of the {len(self.dataset.classes)} classes: {some(files)}; "
            f"correct the masks, add a class, or {cure}"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
