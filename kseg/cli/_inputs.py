"""What `kseg predict` labels: the images and videos that its arguments name."""

import glob
import io
import itertools
import os
import pathlib
import sys
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

VISITED = 1000
"""Number of folders in which images that are not labeled are looked for."""
NAMED = 3
"""Number of places that a message names."""


class Inputs(NamedTuple):
    """The images by the names that messages use, the videos, and what is not labeled.

    Attributes:
        images: Files, streams and `kseg.inference.StoredImage` by name.
        videos: Names of files.
        unread: Files of folders that are no images, and their addresses.
        deeper: Some subfolders with images and some videos in subfolders, which are not labeled.
    """

    images: dict[str, Any]
    videos: list[str]
    unread: list[pathlib.Path | str]
    deeper: list[str]


def find_inputs(places: Sequence[str]) -> Inputs:
    """Lists the images and videos of files, folders, patterns, addresses and Parquet files, each once.

    `-` is an image from standard input.

    Raises:
        FileNotFoundError: If a place has none.
        ValueError: If `-` is given and standard input is a terminal.
    """
    from kseg import inference

    found = Inputs({}, [], [], [])
    known: set[str] = set()
    for place in places:
        if place == "-":
            found.images["stdin"] = _standard_input()
            continue
        if "://" in place or place.lower().endswith(inference.PARQUET):
            stored, others = inference.list_stored(place)
            found.images.update(stored)
            found.unread.extend(others)
            continue
        try:
            listed = inference.list_images(place)
        except FileNotFoundError:
            if os.path.isdir(place) and any(each.endswith(inference.PARQUET) for each in os.listdir(place)):
                found.images.update(inference.list_stored(os.path.join(glob.escape(place), "*.parquet"))[0])
                continue
            if deeper := list(itertools.islice(_deeper(place, known), NAMED + 1)):
                raise FileNotFoundError(f"{place} has images in subfolders only: give {first_names(deeper)}") from None
            raise
        if os.path.isdir(place):
            files = [path for path in pathlib.Path(place).iterdir() if path.is_file() and path.name[0] != "."]
            found.unread.extend(sorted(set(files) - set(listed)))
        for path in listed:
            if (whole := os.path.realpath(path)) in known:
                continue
            known.add(whole)
            if inference.is_video(path):
                found.videos.append(str(path))
            else:
                found.images[str(path)] = path
    unread = itertools.chain.from_iterable(_deeper(place, known) for place in places)
    found.deeper.extend(itertools.islice(unread, NAMED + 1))
    return found


def first_names(names: Sequence[str]) -> str:
    """Returns the first names of a list, for a message."""
    return ", ".join(names[:NAMED]) + " and others" * (len(names) > NAMED)


def _deeper(folder: str, known: Container[str]) -> Iterator[str]:
    """Yields the subfolders that hold images, and the videos in them, without results of `kseg predict`.

    Hidden files and those whose real paths are known are left out, as is what lies beyond the first `VISITED` folders.
    """
    from kseg import inference
    from kseg.data import SUFFIXES
    from kseg.prediction import TABLE

    for place, folders, files in itertools.islice(os.walk(folder), VISITED):
        folders[:] = sorted(each for each in folders if each[0] != ".")
        if place == folder:
            continue
        if TABLE in files:
            folders.clear()
            continue
        paths = (os.path.join(place, each) for each in sorted(files) if each[0] != ".")
        new = [path for path in paths if os.path.realpath(path) not in known]
        if any(path.lower().endswith(SUFFIXES) for path in new):
            yield place
        yield from filter(inference.is_video, new)


def _standard_input() -> Any:
    from kseg.data import is_georeferenced

    if sys.stdin.isatty():
        raise ValueError("- reads an image from standard input: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    if is_georeferenced(file):
        cure = "give the name of the file instead of -"
        print(f"warning: {file.name}: the georeference is ignored: {cure}", file=sys.stderr)
    return file
