"""Which options would pair the files of a folder, choose among files of one name, or read further files."""

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kseg.data.finding.layout import Files
from kseg.data.finding.messages import below, counted, some

LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Place:
    """Where images or masks are.

    Args:
        noun: `"image"` or `"mask"`: the options are `images` and `image_suffix`.
        place: The folder or pattern that the user gave.
        suffix: What the user says follows the stem in their names.
        files: The files found there.
    """

    noun: str
    place: str
    suffix: str
    files: Files

    @property
    def groups(self) -> set[str]:
        """The placeholders of the pattern besides those of the split and the stem."""
        return set(re.findall(r"\{(\w+)\}", self.files.pattern)) - {"split", "stem"}

    def options(self, end: str, name: str) -> dict[str, str]:
        """Returns the options under which `name`, which contains `{stem}`, and `end` take the place of `{stem}`."""
        if name == "{stem}" and not end:
            return {}
        if name == "{stem}" and "{stem}" not in self.place:
            return {f"{self.noun}_suffix": end + self.suffix}
        stem = r"(\*\*)?\{stem\}" if "/" in name else r"\{stem\}"
        pattern = re.sub(stem, lambda _: name + end, self.files.pattern).removeprefix("./")
        dropped = {f"{self.noun}_suffix": ""} if self.suffix and "{stem}" not in self.place else {}
        return {f"{self.noun}s": pattern} | dropped

    def typed(self, end: str) -> str:
        """Adds the type of most files to an ending with a dot, which would be read as the type if it came last."""
        if "." not in end or not self.files.pattern.endswith("{stem}"):
            return end
        return end + Counter(path.suffix for path in self.files.by_key.values()).most_common(1)[0][0]


def cure(alone: Collection[str], left: Collection[str], total: int, images: Place, masks: Place) -> str:
    """Returns the end of a message about images without a mask.

    Args:
        alone: Keys of images without a mask.
        left: Keys of masks without an image.
        total: Number of images, with those that have a mask.
        images: Where the images are.
        masks: Where the masks are.
    """
    paired = total - len(alone)  # pairs that other options would break
    for options in _pairings(alone, left, max(total / 2, paired + 1), (images, masks)):
        return f": give {written(options)}"
    folded = {name.casefold() for name in left}
    if count := sum(name.casefold() in folded for name in alone):
        return f": the names of {count} masks differ only in capital letters, rename them"
    if left:
        return f", where {some(sorted(left))} {'has' if len(left) == 1 else 'have'} no image"
    if masks.files.by_key or not masks.files.unread:
        return ""
    reason, paths = next(iter(masks.files.unread.items()))
    return f", which has {counted(len(paths), 'file')} {reason.removesuffix(' in')}: {some([p.name for p in paths])}"


def written(options: Mapping[str, str]) -> str:
    """Writes options in a message; empty ones are to be left out."""
    given = " and ".join(f'{option}="{value}"' for option, value in options.items() if value)
    dropped = ", ".join(f"{option}=" for option, value in options.items() if not value)
    return given + (f" and leave out {dropped}" if dropped else "")


def _pairings(
    alone: Collection[str], left: Collection[str], least: float, places: tuple[Place, Place]
) -> Iterator[dict[str, str]]:
    """Yields options that pair the files: by the ends of their names, their beginnings, or without their folders."""
    depths = {key.count("/") for key in (*alone, *left)}
    groups = places[0].groups | places[1].groups
    for whole in (True, False):  # by their keys, or by their names without folders
        if not whole and (groups or depths <= {0} or any(map(_repeats_names, places))):
            return
        keys = [[key if whole else PurePosixPath(key).name for key in part] for part in (alone, left)]
        for backwards in (False, True):
            images, masks = ([turned(key, backwards) for key in part] for part in keys)
            ends = suffixes(images, masks, least)
            if ends is None or "{" in "".join(ends):  # which would be read as placeholders
                continue
            above = ["", ""]
            if not whole:
                above = ["**/" * any("/" in key for key in part) for part in (alone, left)]
            elif backwards and max(depths):
                if groups or len(depths) > 1:
                    continue
                above = [folders(max(depths)) if end else "" for end in ends]
            options: dict[str, str] = {}
            for place, end, head in zip(places, ends, above, strict=True):
                start, end = (end[::-1], "") if backwards else ("", place.typed(end))
                options |= place.options(end, f"{head}{start}{{stem}}")
            yield options


def folders(depth: int) -> str:
    """Returns the pattern of folders that images and masks share, such as `"{folder}/{folder1}/"`."""
    return "".join(f"{{folder{number or ''}}}/" for number in range(depth))


def _repeats_names(place: Place) -> bool:
    names = [PurePosixPath(key).name for key in place.files.by_key]
    return len(set(names)) < len(names)


def turned(key: str, backwards: bool) -> str:
    """Returns a key, with its last part backwards if asked."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name[::-1] if backwards else key


def suffixes(images: Collection[str], masks: Collection[str], least: float) -> tuple[str, str] | None:
    """Returns the endings of names that pair most images with masks, or None if they pair fewer than `least`.

    Example:
        >>> suffixes(["a", "b"], ["a_mask", "b_mask"], 1)
        ('', '_mask')
    """
    known, ordered, best = set(masks), sorted(masks), (0, 0, ("", ""))
    for image in sorted(images)[:10]:
        place = bisect.bisect(ordered, image)
        for mask in ordered[max(0, place - 1) : place + 3]:  # one of them shares most letters with the image
            if (ends := endings(image, mask)) is None:
                continue
            count = sum(each.endswith(ends[0]) and each.removesuffix(ends[0]) + ends[1] in known for each in images)
            one, other = (re.sub(r"\d", "", end) for end in ends)
            if count == 1 and one == other and ends != ("", ""):  # another number is another image
                continue
            if (rating := (count, -len(ends[0] + ends[1]))) > best[:2]:
                best = *rating, ends
    return best[2] if best[0] >= least else None


def endings(one: str, other: str) -> tuple[str, str] | None:
    """Returns what follows the common beginning of two keys, or None if they share no part of their names."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    stem = "".join(letter for letter, _ in same)
    stem = stem.rstrip("_-. ") if stem not in (one, other) else stem
    ends = one[len(stem) :], other[len(stem) :]
    return None if not PurePosixPath(stem).name or stem.endswith("/") or "/" in "".join(ends) else ends


def choice(place: Place) -> str:
    """Returns the end of a message about files of one name: the type that keeps one of each, or what else helps."""
    files = place.files
    if not files.duplicates:
        return ""
    found = [(path.suffix.lower(), key) for key, path in files.by_key.items()]
    found += [(path.suffix.lower(), key) for path, key in files.duplicates.items()]
    counts = Counter(kind for kind, _ in found)
    whole = [kind for kind, count in counts.items()
             if count == len(files.by_key) == len({key for each, key in found if each == kind})]  # fmt: skip
    if not whole:
        them = "it" if len(files.duplicates) == 1 else "them"
        return f": rename {them}, or move {them} out of the folder"
    kind = min(whole, key=lambda kind: ((kind in LOSSY) == (place.noun == "mask"), kind))
    if "{stem}" in place.place:
        return f': choose one type, as {place.noun}s="{place.place}{kind}"'
    return f': choose one type, as {place.noun}_suffix="{place.suffix}{kind}"'


def unread(places: Collection[Place]) -> list[str]:
    """Returns one line for each kind of files that are read neither as images nor as masks."""
    used = {path for place in places for path in [*place.files.by_key.values(), *place.files.duplicates]}
    lines: dict[str, None] = {}
    for place in places:
        for reason, paths in place.files.unread.items():
            if not (left := [path for path in paths if path not in used]):
                continue
            names, verb = some(below(left, place.files.folder)), "is" if len(left) == 1 else "are"
            text = f"{counted(len(left), 'file')} {reason} {place.files.folder} {verb} not read: {names}"
            if "subfolders" in reason:
                folder, slash, name = place.files.pattern.rpartition("/")
                deep = f"{folder or '.'}/**" if "{stem}" not in place.place else f"{folder}{slash}**{name}"
                text += f'; give {place.noun}s="{deep.removeprefix("./")}" to read them'
            lines[text] = None
    return list(lines)
