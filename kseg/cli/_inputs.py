"""What `kseg predict` labels: the images and videos that its arguments name."""

import collections
import glob
import io
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """The images by the names that messages use, the videos, and what is not labeled.

    Attributes:
        images: Files and streams by name.
        videos: Names of files.
        unread: Files of folders that are no images.
        deeper: Images in the subfolders of each folder, without those that `kseg predict` wrote.
    """

    images: dict[str, Any]
    videos: list[str]
    unread: list[pathlib.Path]
    deeper: dict[str, list[pathlib.Path]]


def find_inputs(places: Sequence[str]) -> Inputs:
    """Lists the images and videos of files, folders and patterns, each once; `-` is an image from standard input.

    Raises:
        FileNotFoundError: If a place has none.
        ValueError: If `-` is given and standard input is a terminal.
    """
    from kseg import inference

    found = Inputs({}, [], [], {})
    known = set()
    for place in places:
        if place == "-":
            found.images["stdin"] = _standard_input()
            continue
        deeper = _deeper(place) if os.path.isdir(place) else []
        try:
            listed = inference.list_images(place)
        except FileNotFoundError:
            if deeper:
                raise FileNotFoundError(
                    f"no images at {place}, but in its subfolders: name {deeper_pattern(place, deeper)}"
                ) from None
            raise
        if os.path.isdir(place):
            if deeper:
                found.deeper[place] = deeper
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
    return found


def deeper_pattern(folder: str, images: Sequence[pathlib.Path]) -> str:
    """Returns an argument that names the images in the subfolders of a folder, those of the commonest type."""
    suffix = collections.Counter(path.suffix for path in images).most_common(1)[0][0]
    return f'"{os.path.join(glob.escape(folder), "**", f"*{suffix}")}"'


def _deeper(folder: str) -> list[pathlib.Path]:
    """Returns the images in the subfolders of a folder, without hidden ones and the results of `kseg predict`."""
    from kseg.cli.results import TABLE
    from kseg.data import SUFFIXES

    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each[0] != ".")
        if place == folder:
            continue
        if TABLE in files:
            folders.clear()
            continue
        images = sorted(each for each in files if each[0] != "." and each.lower().endswith(SUFFIXES))
        found += [pathlib.Path(place, each) for each in images]
    return found


def _standard_input() -> Any:
    if sys.stdin.isatty():
        raise ValueError("- reads an image from standard input: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    return file
