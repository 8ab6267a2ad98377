"""From the values of masks to classes: which value is which class, and which is void."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg.data._camvid import CLASSES as CAMVID_CLASSES
from kseg.data._official import VOC_CLASSES, VOC_PALETTE, VOC_VOID
from kseg.data.drafting.class_files import KnownClasses
from kseg.data.drafting.inventory import Masks, color_name
from kseg.data.finding.messages import by_kind
from kseg.data.masks import IGNORE

MOST = 64  # values of masks above which they may be smoothed
IDS = 40  # values below are ids, beside which 255 is void
VOID_NAMES = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "dont care", "don't care", "__ignore__")

VOC_NAMES, CAMVID_NAMES = r"20\d\d_\d{6}", r"(0001TP|0006R0|0016E5|Seq05VD)_\w+"

Color = tuple[int, int, int]


@dataclass
class Classes:
    """Class names, and how masks tell them.

    Args:
        names: Class names in the order of their ids.
        values: The mask value of each class; None if they are 0, 1, 2, ...
        palette: The color of each class.
        by_color: Whether masks hold these colors.
        by_id: Whether labels hold ids without masks, as those drawn from annotations.
        ignore: Values or colors to ignore.
        reasons: Why, for comments in a recipe.
        notes: What was found besides.
        problems: What should be looked at before training.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None = None
    palette: tuple[Color, ...] | None = None
    by_color: bool = False
    by_id: bool = False
    ignore: tuple[Any, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def values_or_colors(self) -> Sequence[Any]:
        """Returns what stands for each class in masks."""
        if self.by_color:
            return self.palette or ()
        return range(len(self.names)) if self.values is None else self.values

    def keys(self) -> dict[str, Any]:
        """Returns the keys of a recipe besides `classes`."""
        found: dict[str, Any] = {"values": self.values, "palette": self.palette, "ignore": self.ignore or None}
        return {key: value for key, value in found.items() if value is not None}


def classes_of(masks: Masks, known: KnownClasses | None, stems: Sequence[str]) -> Classes:
    """Returns the classes of masks.

    Args:
        masks: Their values.
        known: Classes that a file lists, if there is one.
        stems: Names of the images.

    Raises:
        ValueError: If the values cannot be classes: those of single objects, of smoothed or lossy masks, fractions.
    """
    if masks.fractions:
        raise ValueError(
            f"{masks.fractions[0]} and {len(masks.fractions) - 1} more masks hold fractions, which are no classes: "
            "save the class of each pixel as a whole number"
        )
    if not masks.pixels:
        raise ValueError("no mask could be read: " + "; ".join(by_kind(masks.unreadable)[:2]))
    if len(masks.pixels) == 1:
        value = next(iter(masks.pixels))
        raise ValueError(f"all masks hold the value {value} alone: there must be two classes")
    if (fault := _fault(masks)) and (known is None or len(known.names) < len(masks.pixels) / 2):
        raise ValueError(fault)
    return _by_color(masks, known) if masks.is_color else _by_value(masks, known, stems)


def _fault(masks: Masks) -> str:
    """Returns why values of masks are no classes, or an empty text."""
    count, common = len(masks.pixels), sorted(masks.pixels.values(), reverse=True)
    total, noun = sum(common), "colors" if masks.is_color else "values"
    usual = sum(share > 0.005 * total for share in common)
    smooth = count > MOST and sum(common[:8]) > 0.9 * total
    if (masks.lossy and usual < count) or smooth:
        cause = "are saved as JPEG" if masks.lossy else "were smoothed, as by resizing, or hold probabilities"
        return (
            f"the masks {cause}: they hold {count} {noun}, of which {usual} are common. Take the original masks as "
            "PNG, and resize masks with nearest neighbors"
        )
    masks_in_all = max(masks.files.values())
    if len(masks.series) >= max(4, 0.8 * masks_in_all) and len(set(masks.series)) > 3:
        return (
            f"the values of each mask are 0, 1, 2, ... up to {min(masks.series)} in one and {max(masks.series)} in "
            "another, like numbers of single objects: save the class of each pixel instead; for one class, mask > 0 as "
            "0 and 1"
        )
    if count > IGNORE:
        return f"the masks hold {count} {noun}, more than the {IGNORE} classes that there can be"
    return ""


def _by_value(masks: Masks, known: KnownClasses | None, stems: Sequence[str]) -> Classes:
    present = sorted(value for value in masks.pixels if isinstance(value, int))
    ignore, notes, reasons, problems = [value for value in present if value < 0], [], [], []
    void = _is_void(masks, present, known)
    if void and masks.files[IGNORE] > 1 and not masks.void_beside:
        other = next(value for value in present if value > 0)
        problems.append(
            f"{masks.files[IGNORE]} masks hold 255, others {other}, and none holds both: if both are one class, save "
            "all masks with the same values; if 255 is void, write ignore = [255]"
        )
        present, void = [value for value in present if value != IGNORE], False
    if ignore or void:
        ignore += [IGNORE] if void else []
        reasons.append(f"{', '.join(map(str, ignore))} in the masks is taken for void, pixels without a label.")
    stray = [value for value in present if 0 < value < IGNORE and IGNORE in present and not void
             and masks.pixels[value] < 0.02 * masks.pixels[IGNORE]]  # fmt: skip
    if stray and len(present) - len(stray) == 2:  # a few pixels in black-and-white masks
        notes.append(
            f"{sum(masks.pixels[value] for value in stray)} pixels of black-and-white masks are neither: ignored"
        )
        ignore += stray
    used = [value for value in present if value not in ignore]
    if len(used) < 2:
        raise ValueError(f"the masks hold {present} only, and {ignore} is void: there must be two classes")
    names, values, why = _names(masks, used, known, stems)
    keep = [index for index, name in enumerate(names) if name.casefold() not in VOID_NAMES]
    ignore += [values[index] for index in range(len(names)) if index not in keep]
    names, values = [names[index] for index in keep], [values[index] for index in keep]
    colors = [masks.palette.get(value) for value in values]
    palette = [color for color in colors if color is not None]
    plain = values == list(range(len(values)))
    if values == [0, IGNORE]:
        reasons.append("The masks are black and white.")
    return Classes(
        tuple(names),
        None if plain else tuple(values),
        tuple(palette) if len(set(palette)) == len(colors) else None,
        ignore=tuple(ignore),
        reasons=(*reasons, why),
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _is_void(masks: Masks, present: Sequence[int], known: KnownClasses | None) -> bool:
    """Returns whether 255 is void: it stands beside ids, and is no class in a series such as 0, 127, 255."""
    others = [value for value in present if 0 < value < IGNORE]
    if IGNORE not in present or not others:
        return False
    if known is not None and (IGNORE in (known.values or ()) or len(known.names) > IGNORE):
        return False
    if sum(masks.pixels[value] for value in others) < 0.02 * masks.pixels[IGNORE]:
        return False
    return max(others) < IDS


def _names(
    masks: Masks, used: list[int], known: KnownClasses | None, stems: Sequence[str]
) -> tuple[list[str], list[int], str]:
    """Returns the names and values of the classes, and where they are from."""
    if known is not None:
        names, values = list(known.names), list(known.values or range(len(known.names)))
        if set(used) <= set(values):
            return names, values, f"Names are from {known.path.name}."
        if known.values is None and used[0] == 0 and used[-1] == len(names):
            return ["background", *names], list(range(len(names) + 1)), f"Names are from {known.path.name}."
        if known.values is None and len(names) == len(used):
            return names, used, f"Names are from {known.path.name}, in the order of the mask values."
    as_voc = used[-1] < len(VOC_CLASSES) and all(masks.palette.get(value) == VOC_PALETTE[value] for value in used)
    if as_voc and _named(stems, VOC_NAMES):
        return [*VOC_CLASSES], [*range(len(VOC_CLASSES))], "The names of PASCAL VOC, whose palette the masks have."
    if len(used) > 9 and used[-1] == len(CAMVID_CLASSES) and _named(stems, CAMVID_NAMES):
        names = [*CAMVID_CLASSES, "void"]
        return names, [*range(len(names))], "The names of CamVid, whose images these are."
    values = used
    if used[0] <= 1 and used[-1] < IDS and len(used) > 0.5 * (used[-1] + 1):  # a few ids that no mask has
        values = list(range(used[0], used[-1] + 1)) if used[-1] > used[0] + 1 or used[0] == 0 else used
    if len(values) == 2 and values[0] == 0:
        return ["background", "foreground"], values, "Rename the classes as you like."
    most = masks.pixels.most_common(1)[0][0]  # the value 0 may as well be the sky
    names = ["background" if value == most == 0 else f"class_{value}" for value in values]
    return names, values, "Names are the mask values: rename the classes as you like, in this order."


def _named(stems: Sequence[str], form: str) -> bool:
    return all(re.fullmatch(form, stem) for stem in stems)


def _by_color(masks: Masks, known: KnownClasses | None) -> Classes:
    every = [color for color in masks.pixels if isinstance(color, tuple)]
    present = sorted(every, key=lambda color: (color != (0, 0, 0), -masks.pixels[color]))
    notes: list[str] = []
    if known is not None and known.colors is not None and len(set(present) & set(known.colors)) > 1:
        pairs = list(zip(known.names, known.colors, strict=True))
        ignore = [color for name, color in pairs if name.casefold() in VOID_NAMES]
        if strays := [color for color in present if color not in known.colors]:
            notes.append(f"{len(strays)} colors are not in {known.path.name} and ignored: {strays[:3]}")
            ignore += strays
        pairs = [pair for pair in pairs if pair[1] not in ignore]
        names, colors, why = (
            [name for name, _ in pairs],
            [color for _, color in pairs],
            f"Classes are those of {known.path.name}.",
        )
    else:
        ignore = [color for color in present if color == VOC_VOID and len(present) > 2]
        colors, names = [color for color in present if color not in ignore], []
        for color in colors:
            names.append("background" if color == (0, 0, 0) else color_name(color, names))
        why = "Names are those of the colors in the masks: rename the classes as you like, in this order."
        if colors and colors[0] == (0, 0, 0) and len(colors) > 2:
            why += " If black means pixels without a label, remove its name and color, and add ignore = [[0, 0, 0]]."
    return Classes(
        tuple(names), None, tuple(colors), by_color=True, ignore=tuple(ignore), reasons=(why,), notes=tuple(notes)
    )
