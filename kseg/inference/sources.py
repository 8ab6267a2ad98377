"""The images to label: their files, the options that apply to one, and the names of the files made from them."""

import collections
import dataclasses
import glob
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from kseg.data import SUFFIXES, Pixels
from kseg.inference.stored import StoredImage

LONGEST_NAME = 255
"""Bytes that file systems allow in a file name."""


def list_images(place: str | os.PathLike) -> list[pathlib.Path]:
    """Lists the images of a folder or a pattern in order.

    Args:
        place: A file, a folder (without its subfolders), or a pattern such as `"photos/*.jpg"`; `**` stands for folders
            at any depth.

    Returns:
        Their paths.

    Raises:
        FileNotFoundError: If there are none.
    """
    path = pathlib.Path(place)
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        found = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    elif path.is_file():
        found = [path]
    else:
        found = sorted(filter(pathlib.Path.is_file, map(pathlib.Path, glob.glob(os.fspath(place), recursive=True))))
    if not found:
        known = ", ".join(SUFFIXES)
        raise FileNotFoundError(f"no images at {place}: name a file, a folder that holds {known}, or a pattern with *")
    return found


def output_names(paths: Sequence[str | os.PathLike], *, longest: int = LONGEST_NAME - 8) -> list[str]:
    """Returns unique names for results: the stem of each file, or more of its path where two stems are equal.

    Args:
        paths: The files, without repetition.
        longest: Largest number of bytes of a name, without suffixes such as `.geojson`; longer ones are cut.

    Returns:
        One name per path, unique even if upper and lower case are not distinguished.

    Example:
        >>> output_names(["a/1.png", "b/1.png", "b/1.jpg", "b/2.png"])
        ['a_1', 'b_1_png', 'b_1_jpg', '2']
    """
    files = [pathlib.Path(path).absolute() for path in paths]
    names = [file.stem for file in files]
    above = ""
    for with_suffix in (False, True):
        counts = collections.Counter(map(str.casefold, names))
        shared = [index for index, name in enumerate(names) if counts[name.casefold()] > 1]
        if shared and not above:
            above = os.path.commonpath([files[index].parent for index in shared])
        for index in shared:
            place = files[index].relative_to(above)
            names[index] = "_".join([*place.parent.parts, place.stem, *[place.suffix[1:]] * with_suffix])
    unique: dict[str, str] = {}
    for name in names:
        numbered = (_cut(name, f"_{count}" * (count > 1), longest) for count in itertools.count(1))
        free = next(candidate for candidate in numbered if candidate.casefold() not in unique)
        unique[free.casefold()] = free
    return list(unique.values())


def _cut(name: str, end: str, longest: int) -> str:
    while len(os.fsencode(name + end)) > longest:
        name = name[:-1]
    return name + end


def as_image(source: Any, pixels: Pixels) -> tuple[Any, Pixels]:
    """Returns one image to read, which may have become an array, and those of the options that apply to it.

    Only files and PIL images have pages. Arrays of floats are images of data sets, which are finished; arrays with as
    many channels as there are bands have the chosen ones.

    Raises:
        ValueError: If an array of floats has other values than those from 0 to 255.
    """
    if isinstance(source, StoredImage):
        source = source.open()
    if isinstance(source, Image.Image) and getattr(source, "n_frames", 1) == 1:
        return source, dataclasses.replace(pixels, page=None)
    if isinstance(source, str | os.PathLike | Image.Image) or hasattr(source, "read"):
        return source, pixels
    source, pixels = np.asarray(source), dataclasses.replace(pixels, page=None)
    if source.dtype.kind == "f":
        low, high = (float(source.min()), float(source.max())) if source.size else (0.0, 0.0)
        if not 0 <= low <= high <= 255:  # nor NaN
            raise ValueError(
                f"the image: an array of floats must have values from 0 to 255, got {low:g} to {high:g}: scale it; a "
                "range is for files and for arrays of integers"
            )
        pixels = dataclasses.replace(pixels, range=None, bands=pixels.bands if source.ndim == 3 else None)
    if source.ndim == 3 and source.shape[-1] == pixels.channels:
        return source, dataclasses.replace(pixels, bands=None)
    return source, pixels
