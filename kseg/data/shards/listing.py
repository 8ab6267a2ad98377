"""The Parquet or tar files of a split, in a folder or of a pattern."""

import os
import re

from kseg.data.finding.layout import aliases
from kseg.data.shards.places import Place

KINDS = (".parquet", ".tar")


def files_of(place: Place, split: str | None) -> list[Place]:
    """Returns the files of a split, sorted by name.

    In a folder, or its subfolder `data`, they have the name of the split between `-`, `_` or `.`, or lie in a folder of
    this name.

    Args:
        place: A folder, or a pattern for the names of files, in which `{split}` is the name of the split.
        split: The split; None for all files.

    Returns:
        The files; none if there are none.

    Raises:
        ValueError: If the pattern gives the same files for every split, or files of two kinds are found.
    """
    names = aliases(split)
    if "{split}" in place.address or "*" in place.address or place.name.endswith(KINDS):
        if split is not None and "{split}" not in place.address:
            raise ValueError(f'{place} means the same files for every split: write {{split}} for its name, such as '
                             '"data/{split}-*.parquet"')  # fmt: skip
        patterns = [place.address.replace("{split}", name) for name in names] or [place.address.replace("{split}", "*")]
        found = next((files for pattern in patterns if (files := _of_pattern(pattern))), [])
    else:
        found = _of_folder(place, names)
    if len({_suffix(each.name) for each in found}) > 1:
        raise ValueError(f'{place} has Parquet and tar files: choose by a pattern such as "data/{{split}}-*.tar"')
    return found


def _of_pattern(pattern: str) -> list[Place]:
    folder, _, name = pattern.rpartition("/") if "/" in pattern else ("", "", pattern)
    if not folder and os.sep != "/":
        folder, name = os.path.split(pattern)
    if "*" in folder:
        raise ValueError(f"{pattern}: only the names of files may have *, not those of folders")
    return [each for each in Place(folder or ".").matching(name) if each.name.endswith(KINDS)]


def _of_folder(place: Place, names: tuple[str, ...]) -> list[Place]:
    for folder in (place, place / "data"):
        files = [each for kind in KINDS for each in folder.matching(f"*{kind}")]
        if not names and files:
            return files
        for name in names:
            own = [each for each in files if name in re.split(r"[-_.]", each.name)]
            own = own or [each for kind in KINDS for each in (folder / name).matching(f"*{kind}")]
            if own:
                return own
    return []


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
