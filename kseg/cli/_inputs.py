"""What `kseg predict` labels: the images and videos that its arguments name."""

import io
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """The images by the names that messages use, the videos, and the files of folders that are neither."""

    images: dict[str, Any]
    videos: list[str]
    unread: list[pathlib.Path]


def find_inputs(places: Sequence[str]) -> Inputs:
    """Lists the images and videos of files, folders and patterns, each once; `-` is an image from standard input.

    Raises:
        FileNotFoundError: If a place has none.
        ValueError: If `-` is given and standard input is a terminal.
    """
    from kseg import inference

    found = Inputs({}, [], [])
    known = set()
    for place in places:
        if place == "-":
            found.images["stdin"] = _standard_input()
            continue
        listed = inference.list_images(place)
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
    return found


def _standard_input() -> Any:
    if sys.stdin.isatty():
        raise ValueError("- reads an image from standard input: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    return file
