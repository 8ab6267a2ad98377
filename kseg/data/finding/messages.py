"""What is said about files: those that are not read, and what would pair images with masks."""

import bisect
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

from kseg.data.finding.layout import Files


def unread(images: Files, masks: Files) -> list[str]:
    """Returns one line for each kind of files that are read neither as images nor as masks."""
    places = {"images": images, "masks": masks}
    used = {path for files in places.values() for path in [*files.by_key.values(), *files.duplicates]}
    lines: dict[str, None] = {}
    for option, files in places.items():
        for reason, paths in files.unread.items():
            left = [path for path in paths if path not in used]
            if left:
                names = some([path.name for path in left])
                verb = "is" if len(left) == 1 else "are"
                text = f"{counted(len(left), 'file')} {reason} {files.folder} {verb} not read: {names}"
                place, _, name = files.pattern.rpartition("/")
                deep = f"{place}/**" if name.startswith("{stem}") else f"{place}/**{name}"
                lines[text + (f'; give {option}="{deep}" to read them' if "subfolders" in reason else "")] = None
    return list(lines)


def counted(count: int, noun: str) -> str:
    """Returns `"1 image"` or `"2 images"`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def printable(text: str) -> str:
    """Returns a text without what cannot be printed: the bytes of names that are not UTF-8 become `?`."""
    return text.encode("utf-8", "replace").decode()


def some(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names, printable, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def suffixes(images: Collection[str], masks: Collection[str]) -> tuple[str, str] | None:
    """Returns the endings of names that pair most images with masks, or None if they pair fewer than half.

    Example:
        >>> suffixes(["a", "b"], ["a_mask", "b_mask"])
        ('', '_mask')
    """
    known, ordered, best = set(masks), sorted(masks), (0, ("", ""))
    for image in sorted(images)[:10]:
        place = bisect.bisect(ordered, image)
        for mask in ordered[max(0, place - 1) : place + 3]:  # one of them shares most letters with the image
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(image, mask, strict=False))
            stem = "".join(letter for letter, _ in same)
            stem = stem.rstrip("_-. ") if stem not in (image, mask) else stem
            ends = image[len(stem) :], mask[len(stem) :]
            count = sum(each.endswith(ends[0]) and each.removesuffix(ends[0]) + ends[1] in known for each in images)
            if stem and count > best[0]:
                best = count, ends
    return best[1] if best[0] >= max(1, len(images) / 2) else None


def cure(images: Collection[str], masks: Collection[str], folders: tuple[str, str], files: Files) -> str:
    """Returns the end of a message about images without a mask.

    Args:
        images: Keys of images without a mask.
        masks: Keys of masks without an image.
        folders: The folders or patterns of images and masks.
        files: All masks, and what was left out.
    """
    if found := suffixes(images, masks):
        pairs = zip(("image_suffix", "mask_suffix"), found, strict=True)
        return ": give " + " and ".join(f'{option}="{end}"' for option, end in pairs if end)
    if found := suffixes([name[::-1] for name in images], [name[::-1] for name in masks]):
        places = zip(("images", "masks"), folders, found, strict=True)
        return ": give " + " and ".join(
            f'{option}="{folder}/{end[::-1]}{{stem}}"' for option, folder, end in places if end
        )
    folded = {name.casefold() for name in masks}
    if count := sum(name.casefold() in folded for name in images):
        return f": the names of {count} masks differ only in capital letters, rename them"
    if masks:
        return f", where {some(sorted(masks))} {'has' if len(masks) == 1 else 'have'} no image"
    if files.by_key or not files.unread:
        return ""
    reason, paths = next(iter(files.unread.items()))
    return f", which has {counted(len(paths), 'file')} {reason.removesuffix(' in')}: {some([p.name for p in paths])}"


def choice(files: Files, option: str, place: str, suffix: str) -> str:
    """Returns the end of a message about files of one name and several types: what would choose one of them.

    Args:
        files: The files.
        option: `"image"` or `"mask"`.
        place: Their folder or pattern.
        suffix: What follows the stem in their names.
    """
    kinds = {path.suffix for path in files.duplicates} - {Path(place).suffix, Path(suffix).suffix}
    if not kinds:
        return ""
    given = f'{option}s="{place}' if "{stem}" in place else f'{option}_suffix="{suffix}'
    return f': choose one type, as {given}{min(kinds)}"'
