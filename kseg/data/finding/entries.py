"""The entries of a list: which column names the images, and which image each entry means."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from kseg.data.finding.layout import normal
from kseg.data.finding.text import read_text


def read_list(path: Path) -> list[str]:
    """Returns the entries of a list: its lines without empty ones and quotes.

    Raises:
        ValueError: If the file is not text.
    """
    lines = [normal(line.strip()).strip("\"'") for line in read_text(path).split("\n")]
    return [line for line in lines if line]


def columns(line: str) -> list[str]:
    """Splits a line at commas, semicolons or tabs, or else at spaces.

    Example:
        >>> columns("a cat.png;1"), columns("a.png b.png")
        (['a cat.png', '1'], ['a.png', 'b.png'])
    """
    cells = re.split(r"[,;\t]", line)
    return [cell.strip().strip("\"'") for cell in (cells if len(cells) > 1 else line.split())]


def may_be_titles(line: str, file: Path) -> bool:
    """Whether the first line of a table can be its header: words, none of which is a path, a file name or a number."""
    is_table = file.suffix.lower() == ".csv" or re.search(r"[,;\t]", line)
    return bool(is_table) and not re.search(r"[/\\]|\.\w|(^|[,;\t])\s*[\"']?\d", line)


class Names:
    """Finds images by what lists call them: a stem, a file name or a path, with or without an ending."""

    def __init__(self, files: Mapping[str, Path], root: Path) -> None:
        self.keys: dict[str, str] = {}
        for key, path in files.items():
            below = path.relative_to(root) if path.is_relative_to(root) else path
            parts = PurePosixPath(normal(below.as_posix())).parts
            names = {key, PurePosixPath(key).name}
            for start in range(len(parts)):
                part = PurePosixPath(*parts[start:])
                names |= {str(part), str(part.with_suffix(""))}
            for name in names:
                self.keys[name] = key if self.keys.get(name, key) == key else ""
        self.keys |= {key: key for key in files}

    def column(self, lines: Sequence[str], titles: Sequence[str], file: Path) -> int:
        """Returns the position of the column that names the images.

        It is the first column of file names with endings, such as `.png`, in which there are names of images. Without
        endings, it is the first with names of images that has a title: pandas writes its index without one.

        Args:
            lines: The lines of the list without that of the titles.
            titles: The titles of the columns; empty if the list has none.
            file: The list, for the error.

        Raises:
            ValueError: If, without endings, several columns are full of names of different images.
        """
        if any(len(columns(line)) > 1 and self._key(line, exact=True) for line in lines):
            return 0  # names with spaces or commas
        rows = [columns(line) for line in lines if not line.startswith("#")]
        found = [[self._key(cell) for cell in cells] for cells in zip(*rows, strict=False)]
        named = [index for index, keys in enumerate(found) if any(keys)]
        files = [index for index in named if all(_has_ending(row[index]) for row in rows)]
        if files or not named:
            return (files or [0])[0]
        named = [index for index in named if titles[index : index + 1] != [""]] or named
        full = [index for index in named if all(found[index])]
        if titles and len({tuple(found[index]) for index in full}) > 1:
            raise ValueError(
                f"{file}: columns {full[0] + 1} and {full[1] + 1} both contain names of images: leave one of them, or "
                "write the endings of the files, such as .png, in the right one"
            )
        return named[0]

    def find(self, entry: str, column: int = 0) -> str | None:
        """Returns the key of the image that an entry names, "" if there are several, or None.

        Other columns are ignored, and so are folders above those that tell images apart, as of another computer.
        Names may contain the characters between columns: then the entry is one name.
        """
        cell = (*columns(entry), *[""] * (column + 1))[column]
        exact = self._key(entry, exact=True) or self._key(cell, exact=True)
        if exact:
            return exact
        part, whole = self._key(cell), self._key(entry)
        if part and (not whole or _has_ending(cell) or not _has_ending(entry)):
            return part
        return whole or (part if whole is None else whole)

    def _key(self, text: str, *, exact: bool = False) -> str | None:
        several = None
        for path in (text, text.replace("\\", "/")):
            parts = path.split("/")
            for start in range(1 if exact else len(parts)):
                name = "/".join(parts[start:])
                for form in (name, re.sub(r"(?<=[^/])\.\w+$", "", name)):
                    key = self.keys.get(form)
                    if key and (start == 0 or form.count("/") >= key.count("/")):
                        return key
                    several = "" if key == "" else several
        return several


def _has_ending(name: str) -> bool:
    return re.search(r"\.[A-Za-z]\w*$", name) is not None
