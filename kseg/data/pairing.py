"""Finds out how the images and labels in a folder are arranged: the options with which `FolderDataset` opens it."""

import bisect
import collections
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kseg.data import layout
from kseg.data.annotations import Annotations, read
from kseg.data.mask_file import Indexed, read_mask
from kseg.data.picture import SUFFIXES

TOKENS = {
    "label": 3, "annot": 3, "gt": 3, "truth": 3, "manual": 3, "seg": 3, "trimap": 3, "trainids": 4, "mask": 2,
    "target": 2, "class": 1, "instance": -4, "object": -3, "color": -2, "rgb": -3, "vis": -3, "overlay": -5,
    "depth": -5, "image": -2, "img": -2, "sat": -1, "photo": -2, "jpeg": -2, "input": -2,
}  # fmt: skip
"""Parts of names of masks and what they speak for: above 0 that files are masks, below 0 that they are not."""
SPLIT = re.compile("training|train|validation|valid|val|testing|test")
LARGEST = 2**31  # bytes of an annotation file that is opened to see what it holds
PLACES = 300  # folders that are compared with each other
NEIGHBORS = 12  # names that are compared to find endings
FEW = 64  # distinct values of a mask

Ends = tuple[str, str]


@dataclass
class Place:
    """A folder that may hold images or masks, with `{split}` for the name of a split in its path."""

    pattern: str
    files: dict[str, list[Path]] = field(default_factory=lambda: collections.defaultdict(list))
    """The files by their path below the place without suffix; the split is in front."""

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


@dataclass
class Source:
    """How a folder is arranged.

    Args:
        options: Options of `FolderDataset`.
        images: Every image with labels.
        masks: Its mask; empty if there are annotations.
        annotations: The annotations of all files, if there are any.
        notes: What was found besides, one line per kind.
    """

    options: dict[str, Any]
    images: list[Path]
    masks: list[Path] = field(default_factory=list)
    annotations: list[Annotations] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_source(root: Path) -> Source:
    """Finds pairs of images and masks, or annotations.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If no labels are found; the message lists what the folder holds.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    files = list(layout.walk(root))
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not pictures:
        kinds = collections.Counter(path.suffix for path in files).most_common(3)
        has = ", ".join(f"{count} {kind} files" for kind, count in kinds) or "no files"
        raise FileNotFoundError(f"{root} holds no images: it has {has}, and images are {', '.join(SUFFIXES)}")
    paired = _pairs(root, pictures)
    if paired is not None and len(paired.masks) > 0.3 * (len(pictures) - len(paired.masks)):
        return paired
    found, faults = _annotated(root, files, pictures)
    if found is not None and (paired is None or len(found.images) > len(paired.images)):
        return found
    if paired is not None:
        return paired
    if faults:
        raise ValueError(faults[0])
    raise ValueError(
        f"{root}: found no masks whose names pair with images, and no annotations ({_contents(root, pictures)}). Name "
        "each mask like its image, x.jpg and x.png or x_mask.png, one mask for each image"
    )


def _contents(root: Path, pictures: Sequence[Path]) -> str:
    folders = collections.Counter(path.parent.relative_to(root).as_posix() for path in pictures)
    shown = [f"{count} images in {folder}" for folder, count in folders.most_common(4)]
    return ", ".join(shown) + (f" and {len(folders) - 4} more folders" if len(folders) > 4 else "")


def _template(parts: Sequence[str], names: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Returns the parts of a path with `{split}` for the name of a split, and that name, one of `names`."""
    for name in dict.fromkeys(name for part in parts for name in _split_names(part) if name in names):
        return tuple(part.replace(name, "{split}") for part in parts), name
    return tuple(parts), ""


def _split_names(part: str) -> list[str]:
    """Returns the names of splits in a part of a path that are no middle of a word, as in "evaluation"."""
    hits = SPLIT.finditer(part)
    return [hit[0] for hit in hits if not (part[: hit.start()][-1:].isalpha() and part[hit.end() :][:1].isalpha())]


def _splits(paths: Collection[tuple[str, ...]]) -> set[str]:
    """Returns the names of splits: those that are a whole part of a path, or have another one in the same place."""
    found: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for parts in paths:
        for name in {name for part in parts for name in _split_names(part)}:
            found[_template(parts, {name})[0]].add(name)
    paired = [names for names in found.values() if len({_canonical(name) for name in names}) > 1]
    return {name for parts in paths for name in parts if SPLIT.fullmatch(name)}.union(*paired)


def _canonical(name: str) -> str:
    return next(split for split, names in layout.ALIASES.items() if name in names)


def _places(root: Path, pictures: Sequence[Path]) -> list[Place]:
    """Returns the folders that hold pictures, and those whose subfolders do."""
    folders = collections.defaultdict(list)
    for path in pictures:
        folders[tuple(layout.normal(part) for part in path.parent.relative_to(root).parts)].append(path)
    names = _splits(folders)
    templates = {parts: _template(parts, names) for parts in folders}
    direct = {template for template, _ in templates.values()}
    places: dict[tuple[str, ...], Place] = {}
    for parts, paths in folders.items():
        template, name = templates[parts]
        for depth in range(len(template), -1, -1):
            start, rest = template[:depth], template[depth:]
            if rest and (start in direct or any("{split}" in part for part in rest)):
                break
            place = places.setdefault(start, Place("/".join(start) or "."))
            split = "" if start == parts[:depth] else name
            for path in paths:
                stem = layout.normal(path.stem)
                stem = stem.replace(split, "{split}") if split else stem
                place.files["/".join([split, *parts[depth:], stem])].append(path)
    return sorted(places.values(), key=lambda place: -place.size)[:PLACES]


def _pairs(root: Path, pictures: Sequence[Path]) -> Source | None:
    places = _places(root, pictures)
    found: list[tuple[int, Place, Place, str, str, list[tuple[Path, Path]]]] = []
    for one, other in itertools.product(places, repeat=2):
        if one is not other and _inside(one.pattern, other.pattern):
            continue
        most = max((count for count, *_ in found), default=0)
        if min(one.size, other.size) < 0.5 * most:
            continue
        for image, mask, pairs in _matches(one, other):
            found.append((len(pairs), one, other, image, mask, pairs))
    found += _folder_per_image(root, pictures)
    if not found:
        return None
    most = max(count for count, *_ in found)
    best = [entry for entry in found if entry[0] >= 0.9 * most]
    rated = [(rating, entry) for entry in best if (rating := _rating(*entry[1:])) is not None]
    if not rated:
        return None
    rated.sort(key=lambda item: item[0], reverse=True)
    (_, (_, one, other, image, mask, pairs)), *others = rated
    source = Source(_options(one, other, image, mask), [image for image, _ in pairs], [mask for _, mask in pairs])
    taken = {mask for _, mask in pairs}
    for _, entry in others:
        if not taken & {mask for _, mask in entry[5]} and entry[1] is one:
            source.notes.append(f"{entry[0]} files {entry[2].pattern}/{entry[4]} could be masks too and are not used")
    return source


def _inside(one: str, other: str) -> bool:
    """Returns whether one of two places is in the other, so that both have the same files."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/") or "." in (one, other)


def _matches(one: Place, other: Place) -> Iterator[tuple[str, str, list[tuple[Path, Path]]]]:
    """Yields patterns of names, `{stem}_mask`, under which files of two places pair, and the pairs."""
    for turned in (False, True):  # what differs is at the end of the names, or at their beginning
        images, masks = ({_turned(key) if turned else key: key for key in place.files} for place in (one, other))
        counts: dict[Ends, int] = {}
        for ends in _ends(sorted(images), sorted(masks), same=one is other):
            counts[ends] = sum(
                key.endswith(ends[0]) and key.removesuffix(ends[0]) + ends[1] in masks and ends[0] != ends[1]
                for key in images
            ) if ends != ("", "") else len(images.keys() & masks.keys())  # fmt: skip
        most = max(counts.values(), default=0)
        for ends, count in counts.items():
            if count < max(1, 0.9 * most) or (one is other and ends == ("", "")):
                continue
            pairs = []
            for key in images:
                partner = key.removesuffix(ends[0]) + ends[1]
                stem = key.removesuffix(ends[0]).rpartition("/")[2]
                if key.endswith(ends[0]) and partner in masks and stem:
                    pairs.append((min(one.files[images[key]]), min(other.files[masks[partner]])))
            if pairs:
                names = [f"{end[::-1]}{{stem}}" if turned else f"{{stem}}{end}" for end in ends]
                yield names[0], names[1], pairs
        if most > 0.5 * min(len(images), len(masks)):
            break
    if one is other:  # x.jpg and x.png in one folder
        kinds = collections.Counter(
            (first.suffix, second.suffix)
            for paths in one.files.values()
            for first, second in itertools.permutations(paths, 2)
        )
        for (first, second), _ in kinds.most_common(2):
            pairs = [
                (image, mask)
                for paths in one.files.values()
                for image, mask in itertools.permutations(paths, 2)
                if (image.suffix, mask.suffix) == (first, second)
            ]
            yield f"{{stem}}{first}", f"{{stem}}{second}", pairs


def _turned(key: str) -> str:
    """Returns a path with its last part backwards."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name[::-1]


def _ends(images: Sequence[str], masks: Sequence[str], *, same: bool) -> set[Ends]:
    """Returns the endings with which names of images and masks may differ, from some neighbors in the alphabet."""
    found: set[Ends] = set() if same else {("", "")}
    for image in images[:: max(1, len(images) // NEIGHBORS)]:
        place = bisect.bisect(masks, image)
        for mask in masks[max(0, place - 4) : place + 6]:
            same_letters = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(image, mask, strict=False))
            shared = "".join(letter for letter, _ in same_letters)
            cut = max(shared.rfind(separator) for separator in "_-. ")
            for length in {len(shared), cut} - {-1}:
                if "/" not in image[length:] + mask[length:] and length > shared.rfind("/") + 1 and image != mask:
                    found.add((image[length:], mask[length:]))
    return found


def _folder_per_image(root: Path, pictures: Sequence[Path]) -> list[Any]:
    """Returns pairs such as `x/image.png` and `x/mask.png`."""
    folders: dict[Path, list[Path]] = collections.defaultdict(list)
    for path in pictures:
        folders[path.parent].append(path)
    names = collections.Counter(path.name for path in pictures)
    common = [name for name, count in names.items() if count > 0.8 * len(folders)]
    if not 1 < len(common) < min(len(folders), 9):
        return []
    above = {folder: folder.relative_to(root).parts[:-1] for folder in folders if folder != root}
    splits = _splits(set(above.values()))
    templates = {folder: _template(parts, splits)[0] for folder, parts in above.items()}
    if len(set(templates.values())) != 1:
        return []
    start = "/".join([*next(iter(templates.values())), "{stem}"])
    found = []
    for image, mask in itertools.permutations(common, 2):
        pairs = [
            (folder / image, folder / mask)
            for folder in folders
            if {folder / image, folder / mask} <= {*folders[folder]}
        ]
        place = Place(start)
        found.append((len(pairs), place, place, image, mask, pairs))
    return found


def _rating(one: Place, other: Place, image: str, mask: str, pairs: Sequence[tuple[Path, Path]]) -> Any:
    """Rates which of the ways to pair files is meant; None if one is not: the images are no images, or no masks."""
    as_masks = _tokens(f"{other.pattern}/{mask}") if other is not one else _tokens(mask)
    as_images = _tokens(f"{one.pattern}/{image}") if other is not one else _tokens(image)
    looks = poorer = 0
    for pair in pairs[:: max(1, len(pairs) // 3)][:3]:
        (few_in_image, in_image), (few_in_mask, in_mask) = (_richness(path) for path in pair)
        looks += few_in_mask - few_in_image
        poorer += (in_mask < in_image) - (in_mask > in_image)
    if looks < 0 or (looks == 0 and (as_masks, poorer) <= (as_images, 0)):
        return None
    separated = not re.search(r"[^\W_]\{stem\}|\{stem\}[^\W_]", f"{image} {mask}")
    deep = other.pattern.count("/") + (other.pattern != ".")
    return (looks > 0, as_masks - as_images, len(pairs), separated, -len(image + mask), deep, mask)


def _tokens(name: str) -> int:
    name = name.lower()
    return sum(weight for token, weight in TOKENS.items() if token in name)


def _richness(path: Path) -> tuple[bool, int]:
    """Returns whether a file has few values, as masks do, and how many it has."""
    try:
        mask = read_mask(path)
    except (ValueError, OSError):
        return False, 2**30
    codes = mask.indices if isinstance(mask, Indexed) else mask
    if codes.ndim == 3:
        codes = codes.astype(np.int64) @ (1 << 16 * np.arange(codes.shape[-1]))
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
    return bool(len(counts) <= FEW or counts[:8].sum() > 0.9 * counts.sum()), len(counts)


def _options(one: Place, other: Place, image: str, mask: str) -> dict[str, Any]:
    """Writes places and names of files as options of `FolderDataset`, as plainly as they allow."""
    options: dict[str, Any] = {"images": one.pattern, "masks": other.pattern}
    names = {"images": image, "masks": mask}
    if "{stem}" in one.pattern:  # a folder for each image
        return {option: f"{one.pattern}/{names[option]}" for option in options}
    if all(name.startswith("{stem}") and PurePosixPath(name).suffix.lower() not in SUFFIXES for name in names.values()):
        for option, name in names.items():
            end = name.removeprefix("{stem}")
            options[f"{option[:-1]}_suffix"] = end
        return {option: value for option, value in options.items() if value}
    return {option: f"{pattern}/{names[option]}".removeprefix("./") for option, pattern in options.items()}


def _annotated(root: Path, files: Sequence[Path], pictures: Sequence[Path]) -> tuple[Source | None, list[str]]:
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
        rating = len(images), _tokens(pattern)
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
    names = _splits(set(parts.values()))
    found: dict[str, list[Path]] = collections.defaultdict(list)
    for path in places:
        found["/".join(_template(parts[path], names)[0]) or "."].append(path)
    return found


def _common(root: Path, images: Sequence[Path]) -> str:
    """Returns the folder that holds the images, with `{split}`."""
    folders = {path.parent.relative_to(root).parts for path in images}
    names = _splits(folders)
    templates = [_template(parts, names)[0] for parts in folders]
    common = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*templates, strict=False))
    return "/".join(column[0] for column in common) or "."
