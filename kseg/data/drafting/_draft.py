"""Drafts a recipe for a folder of one's own data, with comments that give the reason for each value."""

import collections
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.drafting.class_files import find_classes
from kseg.data.drafting.inventory import Images, Masks, look_at_images, look_at_labels, look_at_masks
from kseg.data.drafting.labeled import annotated
from kseg.data.drafting.meaning import Classes, classes_of
from kseg.data.drafting.pairing import paired
from kseg.data.drafting.source import Source
from kseg.data.drafting.writing import Facts, percent, recipe_text, toml
from kseg.data.finding.layout import ALIASES, fixed, walk
from kseg.data.finding.messages import by_kind, counted, some
from kseg.data.folder import FolderDataset
from kseg.data.picture import SUFFIXES, picture_size

SPLITS = ("train", "val", "test")
DRAWN = 300  # annotated images whose labels are drawn to count pixels


@dataclass(frozen=True)
class Draft:
    """A recipe and what it is based on.

    Args:
        recipe: The text of the recipe, TOML.
        findings: What was found in the folder, one line per kind.
        problems: What should be looked at before training, one line per kind.
    """

    recipe: str
    findings: tuple[str, ...]
    problems: tuple[str, ...] = ()


def draft(folder: str | os.PathLike[str]) -> Draft:
    """Looks at a folder of images with masks or annotations and drafts a recipe that trains on them.

    It looks at names (which file is the mask of which image, lists and folders of splits), at all masks (values,
    colors, imbalance) and at images (sizes, bit depth, bands). What files cannot tell is guessed, and a comment in the
    recipe says so.

    Args:
        folder: The folder. The recipe contains this path as it is given.

    Returns:
        The text of the recipe, what was found, and what is wrong.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If there are no labels, or their values cannot be classes.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in "abc":
        ...     for kind, picture in (("img", np.zeros((64, 64, 3))), ("mask", np.eye(64) * 255)):
        ...         Image.fromarray(picture.astype("uint8")).save(root / f"{name}_{kind}.png")
        >>> found = draft(root)
        >>> [line for line in found.recipe.splitlines() if line.startswith(("mask_suffix", "values"))]
        ['mask_suffix = "_mask"', 'values = [0, 255]']
    """
    root = Path(folder).expanduser()
    source = _find(root)
    unread: list[str] = []  # files of classes
    if source.annotations:
        faults: list[tuple[str, str]] = []
        masks = look_at_labels(_labels(source, faults))
        masks.unreadable = faults
        names = list(dict.fromkeys(name for part in source.annotations for name in part.classes))
        classes = Classes(tuple(names), by_id=True)
    else:
        masks = look_at_masks(source.masks)
        known, unread = find_classes(root)
        classes = classes_of(masks, known, [image.stem for image in source.images])
    images = look_at_images(source.images)
    problems = [*by_kind([*masks.unreadable, *images.unreadable]), *_sizes(source, masks, images), *classes.problems]
    problems += [f"{fault}: correct it, or name the classes in the recipe" for fault in unread]
    facts = Facts(os.fspath(folder).replace("\\", "/"), source, masks, images, classes, {}, problems)
    split_lines = _splits(root, facts)
    return Draft(recipe_text(facts, split_lines), tuple(_findings(facts)), tuple(problems))


def _sizes(source: Source, masks: Masks, images: Images) -> list[str]:
    pairs = zip(source.images, source.masks, strict=True) if source.masks else ()
    known = [pair for pair in pairs if pair[0] in images.sizes and pair[1] in masks.sizes]
    wrong = [mask.name for image, mask in known if masks.sizes[mask] != images.sizes[image]]
    verb = "mask has" if len(wrong) == 1 else "masks have"
    return [f"{len(wrong)} {verb} another size than the image: {some(wrong)}"] if wrong else []


def _find(root: Path) -> Source:
    """Finds pairs of images and masks, or annotations.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If no labels are found; the message lists what the folder holds.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    files = list(walk(root))
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not pictures:
        kinds = collections.Counter(path.suffix for path in files).most_common(3)
        has = ", ".join(f"{count} {kind} files" for kind, count in kinds) or "no files"
        raise FileNotFoundError(f"{root} holds no images: it has {has}, and images are {', '.join(SUFFIXES)}")
    source = paired(root, pictures)
    faults: list[str] = []
    if source is None or len(source.masks) <= 0.3 * (len(pictures) - len(source.masks)):
        found, faults = annotated(root, files, pictures)
        if found is not None and (source is None or len(found.images) > len(source.images)):
            source = found
    if source is None and faults:
        raise ValueError(faults[0])
    if source is None:
        raise ValueError(
            f"{root}: found no masks whose names pair with images, and no annotations ({_contents(root, pictures)}). "
            "Name each mask like its image, x.jpg and x.png or x_mask.png, one mask for each image"
        )
    used = {*source.images, *source.masks}
    if others := [path for path in pictures if path not in used]:
        source.notes.append(f"not used: {_contents(root, others)}")
    return source


def _contents(root: Path, pictures: Sequence[Path]) -> str:
    folders = collections.Counter(path.parent.relative_to(root).as_posix() for path in pictures)
    shown = [f"{counted(count, 'image')} in {folder}" for folder, count in folders.most_common(4)]
    return ", ".join(shown) + (f" and {len(folders) - 4} more folders" if len(folders) > 4 else "")


def _labels(source: Source, faults: list[tuple[str, str]]) -> Iterator[np.ndarray]:
    """Draws the labels of some images, and adds the path and the error of those that cannot be drawn to `faults`."""
    chosen = np.unique(np.linspace(0, len(source.images) - 1, DRAWN).astype(int))
    names = list(dict.fromkeys(name for part in source.annotations for name in part.classes))
    for index in chosen:
        path = source.images[int(index)]
        part = next(part for part in source.annotations if part.find(path) is not None)
        try:
            size = picture_size(path)
        except (ValueError, OSError):
            continue  # said of the images
        try:
            label = part.label(path, size)
        except ValueError as error:
            faults.append((str(path), str(error)))
            continue
        table = np.array([*(names.index(name) for name in part.classes), *[255] * (256 - len(part.classes))], np.uint8)
        yield table[label]


def _splits(root: Path, facts: Facts) -> list[str]:
    """Finds the splits, counts their images, and returns the comments on how images are divided."""
    options, counts = facts.source.options, facts.counts
    before = len(facts.problems)
    _count(root, facts)
    if counts.get("train") and counts.get("val"):
        return []
    there = [split for split in SPLITS if counts.get(split)]
    alone = "train" in there
    if not _fixed(root, options) and alone:
        return ["# There is a list of training images, but none of validation images."]
    total = counts["train"] if alone else len(facts.source.images)
    if total < 2:
        raise ValueError(
            f"{root}: {counted(total, 'labeled image')} cannot be divided into training and validation: label more"
        )
    shares = "80/10/10" if total >= 30 and not counts.get("test") else "80/20"
    options["split"] = shares
    counts.clear()
    del facts.problems[before:]
    _count(root, facts)
    found, which = "There are neither lists nor folders of splits", "images"
    if alone:
        found, which = f"There are images for {' and '.join(there)} only", "those of train"
    parts = ", ".join(f"{share} % {split}" for split, share in zip(SPLITS, shares.split("/"), strict=False))
    return [f"# {found}: {which} are divided at random, but always alike, into {parts}."]


def _count(root: Path, facts: Facts) -> None:
    """Counts the labeled images of each split, and notes those without labels.

    Those stop the training if a list or folder names them; shares leave them out.
    """
    kind = "masks" if facts.source.masks else "annotations"
    for split in SPLITS:
        if (opened := _opened(root, split, facts)) is None:
            continue
        bare = [image.name for image in opened.images if opened.mask_of[image] is None]
        facts.counts[split] = len(opened.images) - len(bare)
        if bare:
            facts.problems.append(f"{len(bare)} images of {split} have no {kind}: {some(bare)}")
        if opened.masks_without_image and split == "train":
            lost = [path.name for path in opened.masks_without_image]
            noun, lack = ("mask", "image") if kind == "masks" else ("annotated image", "file")
            facts.problems.append(f"{counted(len(lost), noun)} without {lack}: {some(lost)}")
        if opened.left_out and split == "train":
            names = [image.name for image in opened.left_out]
            one = len(names) == 1
            lack = f"image that has no {kind[:-1]}" if one else f"images that have no {kind}"
            facts.source.notes.append(f"left out: {len(names):,} {lack} ({some(names)})")


def _fixed(root: Path, options: dict[str, Any]) -> bool:
    """Replaces `{split}` by the one folder that there is, and says whether splits are folders."""
    known = [name for split in SPLITS for name in ALIASES[split]]
    names = [form for name in known for form in (name, name.title(), name.upper())]

    def named(pattern: str) -> str:
        """Returns the first name of a split whose folder exists, or ""."""
        folders = ((name, root.joinpath(*fixed(f"{pattern.replace('{split}', name)}/{{stem}}"))) for name in names)
        return next((name for name, folder in folders if folder.is_dir()), "")

    images = str(options["images"])
    if "{split}" in images:
        name = named(images)
        options |= {key: value.replace("{split}", name) for key, value in options.items()}
    elif name := named(f"{images}/{{split}}"):
        places = {key: str(options[key]) for key in ("images", "masks", "annotations") if key in options}
        options |= {key: f"{place}/{name}" for key, place in places.items() if (root / place / name).is_dir()}
    return bool(name)


def _opened(root: Path, split: str, facts: Facts) -> FolderDataset | None:
    options = {("splits" if key == "split" else key): value for key, value in facts.source.options.items()}
    try:
        return FolderDataset(root, split, classes=facts.classes.names, interface="recipe", **options)
    except FileNotFoundError:
        return None


def _findings(facts: Facts) -> list[str]:
    source, images, classes = facts.source, facts.images, facts.classes
    where = ", ".join(f"{key} = {toml(value)}" for key, value in source.options.items() if key != "split")
    kinds = source.annotations[0].kind + " annotations" if source.annotations else "masks"
    lines = [f"{len(source.images)} images with {kinds}: {where}"]
    sizes = collections.Counter(images.sizes.values()).most_common()
    shown = ", ".join(f"{height}x{width} ({count})" for (height, width), count in sizes[:3])
    lines.append(f"sizes: {shown}" + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""))
    bands = " or ".join(str(count) for count in sorted(images.bands)) + " band" + "s" * (set(images.bands) != {1})
    gray = "" if set(images.bands) <= {1} or images.gray < 1 else ", all equal: gray"
    lines.append(f"pixels: {', '.join(images.dtypes)}, {bands}{gray}, values {images.low:g} to {images.high:g}")
    shares = zip(classes.names, facts.shares, strict=True)
    known = [(name, share) for name, share in shares if share > 0]
    lines.append("classes: " + ", ".join(f"{name} {percent(share)}" for name, share in known))
    if absent := [name for name, share in zip(classes.names, facts.shares, strict=True) if share == 0]:
        lines.append(f"classes that no pixel has: {', '.join(absent)}")
    lines.append("splits: " + ", ".join(f"{name} {count}" for name, count in facts.counts.items()))
    return [*lines, *classes.notes, *source.notes]
