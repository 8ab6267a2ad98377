"""Annotations of labeling tools, polygons and run lengths, as label maps.

`read` takes the files of COCO, labelme, CVAT, Label Studio and YOLO; later objects are drawn over earlier ones.
"""

import difflib
import os
import unicodedata
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from kseg.data.finding.messages import some
from kseg.data.labeling import Labels, Picture, Region, draw, read_labels
from kseg.data.masks import IGNORE

__all__ = ["Annotations", "Region", "draw", "read"]

BACKGROUNDS = ("background", "_background_", "__background__", "bg")
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".jp2",
     ".npy", ".avif", ".heic")
)  # fmt: skip
IGNORED = ("__ignore__", "_ignore_")
"""Names, as in labelme, of regions to ignore."""


@dataclass(frozen=True)
class Annotations:
    """The objects of all images of an annotation file, with class ids; made by `read`.

    Args:
        path: The file or folder.
        kind: Its format, such as `"COCO"`.
        classes: Class names in the order of their ids.
        fill: The label of pixels without an object: 0 for the background, 255 if there is no such class.
        notes: What is not drawn and why, one line per kind.
        pictures: The images by number.
        by_stem: Numbers of the images by each of their names without folder and suffix.
        ignore: Names of objects whose pixels are ignored.
    """

    path: Path
    kind: str
    classes: tuple[str, ...]
    fill: int
    notes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    by_stem: Mapping[str, tuple[int, ...]]
    ignore: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.pictures)

    def names(self) -> list[str]:
        """Returns the name of every image, as in the file."""
        return [picture.names[0] for picture in self.pictures]

    def find(self, image: str | os.PathLike[str]) -> Picture | None:
        """Returns the objects of an image file, or None if the annotations do not contain it.

        Files are found by their name without suffix; of several, the one whose folders agree.

        Raises:
            ValueError: If several images of the annotations have this name.
        """
        parts = _parts(image)
        places = self.by_stem.get(parts[-1], ())
        if len(places) < 2:
            return self.pictures[places[0]] if places else None

        def agreeing(place: int) -> int:
            return max(_agreement(parts, _parts(name)) for name in self.pictures[place].names)

        first, second = sorted(places, key=agreeing, reverse=True)[:2]
        if agreeing(first) == agreeing(second):
            names = f"{self.pictures[first].names[0]!r} and {self.pictures[second].names[0]!r}"
            raise ValueError(f"{self.path}: {names} are both the image {os.fspath(image)}: leave one of them")
        return self.pictures[first]

    def label(self, image: str | os.PathLike[str], size: tuple[int, int]) -> np.ndarray:
        """Draws the label map of an image file.

        Args:
            image: The path of the image.
            size: Its height and width.

        Returns:
            uint8 array `(H, W)` of class ids, 255 where ignored.

        Raises:
            ValueError: If there are no annotations of this image, or they were made at another size.
        """
        picture = self.find(image)
        if picture is None:
            raise ValueError(f"{os.fspath(image)}: {self.path} has no annotations of this image")
        if picture.size not in (None, tuple(size)):
            height, width = picture.size
            turned = " (rotated, as by a camera's orientation flag)" if (width, height) == tuple(size) else ""
            raise ValueError(
                f"{os.fspath(image)}: the image is {size[0]}x{size[1]}, but was {height}x{width} when {self.path} was "
                f"made{turned}: use the image of that size, or annotate this one"
            )
        try:
            return draw(self._objects(picture), size, fill=self.fill)
        except ValueError as error:
            raise ValueError(f"{self.path}: {picture.names[0]}: {error}") from None

    def digest(self, image: str | os.PathLike[str]) -> int:
        """Returns a number that changes if the objects of an image file do."""
        picture, code = self.find(image), 0
        for name, region in picture.objects if picture else ():
            arrays = region.polygons if region.runs is None else (region.runs,)
            for content in (name.encode("utf-8", "replace"), *(array.tobytes() for array in arrays)):
                code = zlib.crc32(content, code)
        return code

    def _objects(self, picture: Picture) -> Iterator[tuple[int, Region]]:
        for name, region in picture.objects:
            if name in self.ignore:
                yield IGNORE, region
            elif name in self.classes:
                yield self.classes.index(name), region


def read(
    path: str | os.PathLike[str], classes: Sequence[str] | None = None, *, ignore: Collection[str] = ()
) -> Annotations:
    """Reads annotations of objects: polygons, run lengths and boxes that were drawn as areas.

    The format is recognized by its content:

    - COCO: polygons and both forms of run lengths. Boxes without an outline are left out.
    - labelme: a folder with one JSON file per image, or one such file.
    - YOLO polygons: a folder of text files; names in `data.yaml` or `classes.txt` in it or above.
    - CVAT: "CVAT for images" (XML), Datumaro (JSON) and `annotations.json` of a backup; in the order of z.
    - Label Studio: JSON and JSON-MIN; polygons, brushes, boxes and ellipses.

    Args:
        path: The file or folder.
        classes: Class names in the order of their ids, the first one for pixels without an object. If objects have the
            first name too and it is not "background", such pixels are ignored (255) instead. None takes "background"
            and all names of the file.
        ignore: Names of objects whose pixels are ignored, besides labelme's `"__ignore__"`.

    Returns:
        The annotations.

    Raises:
        FileNotFoundError: If there is no such file, or the folder contains no annotations.
        ValueError: If the file is damaged, has another format, or lacks the classes.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp(), "instances.json")
        >>> _ = path.write_text(json.dumps({
        ...     "images": [{"id": 7, "file_name": "a.jpg", "height": 2, "width": 4}],
        ...     "categories": [{"id": 3, "name": "leaf"}],
        ...     "annotations": [{"image_id": 7, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}],
        ... }))
        >>> found = read(path)
        >>> found.classes, found.label("photos/a.jpg", (2, 4)).tolist()
        (('background', 'leaf'), [[1, 1, 0, 0], [1, 1, 0, 0]])
    """
    path = Path(path).expanduser()
    labels = read_labels(path)
    ignored = frozenset({*IGNORED, *ignore})
    used = Counter(name for picture in labels.pictures for name, _ in picture.objects)
    known = [name for name in dict.fromkeys([*labels.categories, *used]) if name not in ignored]
    if classes is None:
        background = next((name for name in known if name.casefold() in BACKGROUNDS), "background")
        chosen = (background, *(name for name in known if name != background))
    else:
        chosen = tuple(classes)
        _check(path, chosen, known, labels)
    fill = 0 if not used[chosen[0]] or chosen[0].casefold() in BACKGROUNDS else IGNORE
    by_stem: dict[str, tuple[int, ...]] = {}
    for place, picture in enumerate(labels.pictures):
        for stem in dict.fromkeys(_parts(name)[-1] for name in picture.names):
            by_stem[stem] = (*by_stem.get(stem, ()), place)
    return Annotations(
        path, labels.kind, chosen, fill, tuple(_notes(labels, chosen, used, ignored, fill)), tuple(labels.pictures),
        by_stem, ignored,
    )  # fmt: skip


def _check(path: Path, classes: Sequence[str], known: Sequence[str], labels: Labels) -> None:
    """Refuses class names that the file lacks and that are misspelled, or all of them."""
    others = [name for name in known if name not in classes]
    for name in classes[1:]:
        near = difflib.get_close_matches(name.casefold(), [other.casefold() for other in others], n=1, cutoff=0.75)
        if name not in known and (near or labels.complete):
            hint = next((f"did you mean {other!r}? " for other in others if [other.casefold()] == near), "")
            raise ValueError(f"{path} has no class {name!r}: {hint}it has {some(known, 12)}")
    if known and not set(classes) & set(known):
        raise ValueError(f"{path} has none of the classes {', '.join(classes)}: it has {some(known, 12)}")


def _notes(
    labels: Labels, classes: Sequence[str], used: Mapping[str, int], ignored: Collection[str], fill: int
) -> Iterator[str]:
    others = {name: count for name, count in used.items() if name not in classes and name not in ignored}
    if others:
        names = [f"{name} ({count})" for name, count in others.items()]
        yield f"not drawn, since no class has their names: {some(names, 5)}"
    for kind, count in labels.skipped.items():
        yield f"left out: {kind} ({count})"
    if fill == IGNORE:
        yield f"pixels without an object are ignored, since {classes[0]!r} is the name of objects"


def _parts(name: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the folders of a path and its stem, composed letters, from any system."""
    text = unicodedata.normalize("NFC", os.fspath(name)).replace("\\", "/")
    path = PurePosixPath(urllib.parse.urlsplit(text).path if "://" in text else text)
    known = path.suffix.lower() in SUFFIXES
    return (*path.parts[:-1], path.stem if known else path.name)


def _agreement(parts: Sequence[str], others: Sequence[str]) -> int:
    """Returns the number of equal folders, counted from the end."""
    pairs = zip(reversed(parts), reversed(others), strict=False)
    return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(others)))
