"""Tells images and masks apart that lie in one folder."""

import re
from collections import Counter

from kseg.data.finding.cures import Place, endings, folders, turned, written

NEIGHBORS = 3  # names that follow in the alphabet and may belong to the same image
MASKS = re.compile("mask|label|annot|gt|truth|seg|manual|target", re.IGNORECASE)


def separate(images: Place, masks: Place) -> None:
    """Leaves each file that both patterns match to the one that fixes more of its name.

    Raises:
        ValueError: If some file matches both alike.
    """
    mask_keys = {path: key for key, path in masks.files.by_key.items()}
    for key, path in list(images.files.by_key.items()):
        if path not in mask_keys:
            continue
        if len(key) == len(mask_keys[path]):
            raise ValueError(f"images and masks are the same files, such as {path}: give {_apart(images, masks)}")
        longer = len(key) > len(mask_keys[path])
        other, place = (images, key) if longer else (masks, mask_keys[path])
        del other.files.by_key[place]


def _apart(images: Place, masks: Place) -> str:
    """Returns the options that tell images from masks beside them: by what their names differ in, or by their type."""
    files = images.files
    depths = {key.count("/") for key in files.by_key}
    for backwards in (False, True):
        keys = sorted(turned(key, backwards) for key in files.by_key)
        pairs = ((one, other) for place, one in enumerate(keys) for other in keys[place + 1 : place + 1 + NEIGHBORS])
        counts = Counter(ends for one, other in pairs if (ends := _ordered(endings(one, other), backwards)))
        rated = {ends: (count, bool(MASKS.search(ends[1]))) for ends, count in counts.items() if count > len(keys) / 4}
        if not rated or (backwards and len(depths) > 1):
            continue
        ways = []  # several, if it is open which files are the images
        for ends in sorted(ends for ends in rated if rated[ends] == max(rated.values()))[:3]:
            head = folders(max(depths))
            names = [("", f"{head if end else ''}{end}{{stem}}") if backwards else (place.typed(end), "{stem}")
                     for place, end in zip((images, masks), ends, strict=True)]  # fmt: skip
            ways.append(written(images.options(*names[0]) | masks.options(*names[1])))
        return ", or ".join(ways)
    first, *others = sorted({path.suffix for path in [*files.by_key.values(), *files.duplicates]},
                            key=lambda kind: (kind.lower() not in (".jpg", ".jpeg"), kind))  # fmt: skip
    if files.duplicates and len(others) == 1:
        return written(images.options(first, "{stem}") | masks.options(others[0], "{stem}"))
    return "masks= or mask_suffix="


def _ordered(ends: tuple[str, str] | None, backwards: bool) -> tuple[str, str] | None:
    """Returns endings with that of images first; None if they do not tell, or differ in numbers only."""
    if ends is None or len({re.sub(r"\d", "", end) for end in ends}) == 1:
        return None
    one, other = (end[::-1] if backwards else end for end in ends)
    if not other or (MASKS.search(one) and not MASKS.search(other)):
        one, other = other, one
    return (one, other) if not one or MASKS.search(other) else None
