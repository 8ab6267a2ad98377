"""What `kseg predict` prints at the end."""

import sys
from collections.abc import Mapping, Sequence

from kseg.cli._inputs import Inputs, first_names
from kseg.data import Georeference
from kseg.data.wording import reword
from kseg.inference import FORMATS, WGS84, Format, ObjectTable, is_video
from kseg.prediction import Failures


def print_objects(formats: Sequence[Format], *, named: bool) -> None:
    """Prints the number of objects, and which classes are background; `named` says whether the model names classes."""
    (table,) = [each for each in formats if isinstance(each, ObjectTable)]
    left = [table.classes[index] for index in table.details.background]
    found = [f"{count} {name}" for name, count in zip(table.classes, table.counts.tolist(), strict=True) if count]
    without = f"; left out as background: {', '.join(left)} (--keep-background)" if left else ""
    unknown = "" if left or named else "; the classes have no names, so no class is left out as background"
    print(f"objects: {', '.join(found) or 'none'}{without}{unknown}")


def print_unread(inputs: Inputs) -> None:
    """Prints how many files of folders are neither images nor named videos, and which subfolders were not read."""
    if count := len(inputs.unread):
        videos = "; to label videos, name them" if any(map(is_video, inputs.unread)) else ""
        are = "file is not an image and was" if count == 1 else "files are not images and were"
        print(f"{count} {are} skipped, such as {inputs.unread[0]}{videos}")
    if inputs.deeper:
        print(f"images or videos in subfolders were skipped; to label them, give {first_names(inputs.deeper)}")


def print_places(places: Sequence[Georeference], formats: Sequence[Format], crs: str, *, of: int) -> None:
    """Prints in which reference system georeferenced images, some or all `of` the images, were written."""
    if not places:
        return
    names = dict.fromkeys(place.crs if place.crs.startswith("EPSG") else "a system of their own" for place in places)
    own, count, is_one = ", ".join(names), len(places), len(places) == 1
    if any(isinstance(each, FORMATS["geojson"]) for each in formats):
        target = {"source": own, WGS84: "longitude and latitude (WGS 84)"}.get(crs, crs)
        beyond = "" if crs == WGS84 else ", which RFC 7946 does not provide for"
        rest = f"; those of the other {'image' if of == count + 1 else 'images'} are in pixels" if of > count else ""
        images = "1 georeferenced image" if is_one else f"{count} georeferenced images"
        print(f"the polygons of {images} ({own}) are in {target}{beyond}{rest}")
    elif not any(isinstance(each, FORMATS["tif"]) for each in formats):
        print(
            f"{'1 image is' if is_one else f'{count} images are'} georeferenced ({own}): --format tif writes "
            "georeferenced masks, --format geojson georeferenced polygons"
        )


def print_problems(doubts: Mapping[str, Sequence[str]], failed: Failures) -> None:
    """Prints what is doubtful, with the names of its images, and what failed, on stderr."""
    for doubt, names in doubts.items():
        more = f" (and {len(names) - 1} more images)" if len(names) > 1 else ""
        print(f"warning: {names[0]}: {reword(doubt, 'command')}{more}", file=sys.stderr)
    for text in failed.lines():
        print(f"error: {reword(text, 'command')}", file=sys.stderr)
