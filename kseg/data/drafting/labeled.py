"""Finds the annotations in a folder and the images that belong to them."""

import collections
import itertools
from collections.abc import Sequence
from pathlib import Path

from kseg.data.annotations import Annotations, read
from kseg.data.drafting.source import Source, speaks_for_masks
from kseg.data.drafting.split_names import names_of_splits, template
from kseg.data.finding import layout

LARGEST = 2**31  # bytes of an annotation file that is opened to see what it holds


def annotated(root: Path, files: Sequence[Path], pictures: Sequence[Path]) -> tuple[Source | None, list[str]]:
    """Finds the annotation file, or one for each split, or a folder of them, that covers most images; and errors."""
    candidates = _annotation_places(root, files, pictures)
    by_stem: dict[str, list[Path]] = collections.defaultdict(list)
    for path in pictures:
        by_stem[layout.normal(path.stem)].append(path)
    best: Source | None = None
    best_rating = (0, 0)
    faults: list[str] = []
    for pattern, paths in candidates.items():
        try:
            parts = [read(path) for path in paths]
        except (ValueError, ImportError, OSError) as error:
            if "not a known annotation file" not in str(error):  # any other JSON file
                faults.append(str(error))
            continue
        images = [path for part in parts for stem in part.by_stem for path in by_stem.get(stem, ()) if _has(part, path)]
        images = list(dict.fromkeys(images))
        drawn = sum(len(picture.objects) for part in parts for picture in part.pictures)
        notes = dict.fromkeys(note for part in parts for note in part.notes)
        if not drawn and (images or notes):
            faults.append("; ".join((f"{paths[0]} has no object with an area", *notes)))
        rating = len(images), speaks_for_masks(pattern)
        if images and drawn and rating > best_rating:
            best_rating = rating
            best = Source({"images": _common(root, images), "annotations": pattern}, images, annotations=parts)
            best.notes = [note for part in parts for note in part.notes]
    return best, faults


def _has(part: Annotations, path: Path) -> bool:
    try:
        return part.find(path) is not None
    except ValueError:
        return False


def _annotation_places(root: Path, files: Sequence[Path], pictures: Sequence[Path]) -> dict[str, list[Path]]:
    """Returns the annotation files and folders by pattern, with `{split}`."""
    stems = {layout.normal(path.stem) for path in pictures}
    texts = [path for path in files if path.suffix.lower() in (".json", ".xml", ".txt")]
    folders: dict[Path, list[Path]] = collections.defaultdict(list)
    for path in texts:
        if path.suffix.lower() != ".json" or path.stat().st_size < LARGEST:
            folders[path.parent].append(path)
    places: list[Path] = []
    for folder, paths in folders.items():
        own = [path for path in paths if layout.normal(path.stem) in stems]  # one file for each image
        if own:
            places.append(folder)
        else:
            places += [path for path in paths if path.suffix.lower() != ".txt"][:8]
    parts = {path: path.relative_to(root).parts for path in places}
    names = names_of_splits(set(parts.values()))
    found: dict[str, list[Path]] = collections.defaultdict(list)
    for path in places:
        found["/".join(template(parts[path], names)[0]) or "."].append(path)
    return found


def _common(root: Path, images: Sequence[Path]) -> str:
    """Returns the folder that holds the images, with `{split}`."""
    folders = {path.parent.relative_to(root).parts for path in images}
    names = names_of_splits(folders)
    templates = [template(parts, names)[0] for parts in folders]
    common = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*templates, strict=False))
    return "/".join(column[0] for column in common) or "."
