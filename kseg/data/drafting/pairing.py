"""Finds the images and masks in a folder whose names pair, and writes down how."""

import bisect
import collections
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kseg.data.decoding.mask_file import Indexed, read_mask
from kseg.data.drafting.source import Source, speaks_for_masks
from kseg.data.drafting.split_names import names_of_splits, template
from kseg.data.finding import layout
from kseg.data.picture import SUFFIXES

PLACES = 100  # folders that are compared with each other
RATED = 50  # ways to pair files whose pixels are looked at
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


def _places(root: Path, pictures: Sequence[Path]) -> list[Place]:
    """Returns the folders that hold pictures, those whose subfolders do, and patterns such as `{folder}/images`."""
    folders = collections.defaultdict(list)
    for path in pictures:
        folders[tuple(layout.normal(part) for part in path.parent.relative_to(root).parts)].append(path)
    names = names_of_splits(folders)
    templates = {parts: template(parts, names) for parts in folders}
    direct = {parts for parts, _ in templates.values()}
    siblings: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for general in direct:
        for depth in range(len(general) - 1):
            siblings[_with_folder(general, depth)].add(general[depth])
    places: dict[tuple[str, ...], Place] = {}

    def add(start: tuple[str, ...], split: str, between: Sequence[str], paths: Sequence[Path]) -> None:
        place = places.setdefault(start, Place("/".join(start) or "."))
        for path in paths:
            stem = layout.normal(path.stem)
            stem = stem.replace(split, "{split}") if split else stem
            place.files["/".join([split, *between, stem])].append(path)

    for parts, paths in folders.items():
        general, name = templates[parts]
        for depth in range(len(general), -1, -1):
            start, rest = general[:depth], general[depth:]
            if rest and (start in direct or any("{split}" in part for part in rest)):
                break
            add(start, "" if start == parts[:depth] else name, parts[depth:], paths)
        for depth in range(len(general) - 1):
            if len(siblings[start := _with_folder(general, depth)]) > 1:
                add(start, name, general[depth : depth + 1], paths)
    return sorted(places.values(), key=lambda place: -place.size)[:PLACES]


def _with_folder(parts: tuple[str, ...], depth: int) -> tuple[str, ...]:
    """Returns the parts of a path with `{folder}` for one of them."""
    return (*parts[:depth], "{folder}", *parts[depth + 1 :])


def paired(root: Path, pictures: Sequence[Path]) -> Source | None:
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
    rated: list[tuple[Any, Any]] = []
    for entry in sorted(found, key=lambda entry: -entry[0])[:RATED]:
        if rated and entry[0] < 0.9 * rated[0][1][0]:
            break
        if (rating := _rating(*entry[1:])) is not None:
            rated.append((rating, entry))
    if not rated:
        return None
    rated.sort(key=lambda item: item[0], reverse=True)
    (_, (_, one, other, image, mask, pairs)), *others = rated
    source = Source(_options(one, other, image, mask), [image for image, _ in pairs], [mask for _, mask in pairs])
    taken = {mask for _, mask in pairs}
    for _, entry in others:
        if not taken & {mask for _, mask in entry[5]} and entry[1] is one:
            taken.update(mask for _, mask in entry[5])  # the same files can be named in several ways
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
                ends = image[length:], mask[length:]
                letters = [re.sub(r"\d", "", end) for end in ends]  # other numbers are other images
                if "/" not in "".join(ends) and length > shared.rfind("/") + 1 and letters[0] != letters[1]:
                    found.add(ends)
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
    splits = names_of_splits(set(above.values()))
    templates = {folder: template(parts, splits)[0] for folder, parts in above.items()}
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
    as_masks = speaks_for_masks(f"{other.pattern}/{mask}") if other is not one else speaks_for_masks(mask)
    as_images = speaks_for_masks(f"{one.pattern}/{image}") if other is not one else speaks_for_masks(image)
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
