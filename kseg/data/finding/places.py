"""Finds the images or the masks of a split in the folder, the pattern or the folder of the split that holds them."""

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kseg.data.finding import layout, lists, messages
from kseg.data.picture import SUFFIXES


@dataclass(frozen=True)
class Places:
    """Where the files of a data set are.

    Attributes:
        root: The folder that contains the data.
        name: Name of the data set, for errors.
        split: Name of the split, or None for all files.
        splits: How the images are divided; see `FolderDataset`.
    """

    root: Path
    name: str
    split: str | None
    splits: str | Mapping[str, str] | None

    def find(self, option: str, place: str, suffix: str) -> layout.Files:
        """Finds the images or the masks, in the folder of the split if there is one.

        Args:
            option: `"images"` or `"masks"`.
            place: The value of this option, a folder or a pattern.
            suffix: What follows the stem in the names.

        Returns:
            The files.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If the option is invalid.
        """
        pattern, names = layout.pattern_of(place, suffix, option), layout.aliases(self.split)
        shared, nested = lists.are_shares(self.splits), "{split}" in pattern
        if nested and shared:
            raise ValueError(f'{option}="{place}" has a {{split}}, and splits="{self.splits}" divides all images')
        patterns = divided = [pattern]
        if layout.is_folder(place):  # images/train, train/images, images
            divided = ["/{split}/".join(pattern.rsplit("/", 1)), f"{{split}}/{pattern}"]
            patterns = [*divided, pattern] if names and not shared else patterns
        empty = None
        for each in patterns:
            for name in ("{split}" in each and names) or ("{split}",):
                with contextlib.suppress(FileNotFoundError):
                    files = layout.find(self.root, each.replace("{split}", name), SUFFIXES)
                    files.pattern, files.of_split = each, "{split}" in each
                    if files.by_key or not nested:
                        return files
                    empty = empty or files
        if empty is not None:
            return empty
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.name}: there is no folder {self.root} (working directory: {Path.cwd()})")
        if there := self._other_splits(divided):
            raise FileNotFoundError(self._absent(option, place, there))
        raise FileNotFoundError(self._missing(option, pattern.replace("{split}", names[0]) if names else pattern))

    def _other_splits(self, patterns: Sequence[str]) -> dict[str, str]:
        """Returns the names of the splits that have files, with the pattern of each."""
        there: dict[str, str] = {}
        for pattern, name in itertools.product(patterns, itertools.chain(*layout.ALIASES.values())):
            with contextlib.suppress(FileNotFoundError):
                if "{split}" in pattern and layout.find(self.root, pattern.replace("{split}", name), SUFFIXES).by_key:
                    there.setdefault(name, pattern)
        return there

    def _absent(self, option: str, place: str, there: Mapping[str, str]) -> str:
        """Returns the text of the error for a split that has no files where others have some."""
        first, found_at = next(iter(there.items()))
        given = (found_at if "{stem}" in place else found_at.rpartition("/")[0]).replace("{split}", first)
        cure = (
            f"to divide those of {first}, give images= and masks= of that folder, as "
            f'{option}="{given.removeprefix("./")}", and splits="80/10/10"'
        )
        named = layout.aliases(self.split)
        lacks = f"split {self.split!r} has no {option}" if named else f"all {option} are in folders of splits"
        return f"{self.name}: {lacks}; {lists.others(self.split or '', list(there), cure)}"

    def _missing(self, option: str, pattern: str) -> str:
        """Returns the text of the error for a folder that is missing."""
        folder = self.root.joinpath(*layout.fixed(pattern))
        text = f"{self.name}: there is no folder {folder}; if it has another name, give {option}="
        if any(path.suffix.lower() in SUFFIXES for path in self.root.iterdir()):
            return f'{text}, or {option}="." for the files in {self.root} itself'
        here = sorted(path.name for path in self.root.glob("*/") if not path.name.startswith("."))
        return text + (f"; {self.root} has the folders {messages.some(here, 6)}" if here else "")
