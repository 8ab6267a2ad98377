"""Names, colors and mask values of classes in the files that tools and data sets put beside their masks."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kseg.data.finding.text import read_text

NAMES = ("classes.txt", "labels.txt", "class_names.txt", "codes.txt", "classnames.txt", "label_names.txt")
TABLES = ("class_dict.csv", "class_dict_seg.csv", "classes.csv", "_classes.csv", "label_colors.csv", "labelmap.txt")
COLOR = (("r", "g", "b"), ("red", "green", "blue"))
VALUE = ("pixel value", "value", "id", "label", "class id", "index")


@dataclass(frozen=True)
class KnownClasses:
    """Classes as a file lists them.

    Args:
        path: The file.
        names: Class names.
        colors: One color per class, if the file has colors.
        values: The mask value of each class, if the file has values; otherwise they are 0, 1, 2, ...
    """

    path: Path
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...] | None = None
    values: tuple[int, ...] | None = None


def find_classes(root: Path) -> tuple[KnownClasses | None, list[str]]:
    """Returns the classes that a file in a folder or directly below lists.

    Returns:
        The classes of the first file that lists them, or None; in that case, what is wrong with the files there are.
    """
    faults = []
    for name in (*TABLES, *NAMES, "dataset.json"):
        for path in sorted([*root.glob(name), *root.glob(f"*/{name}")]):
            try:
                found = _of_nnunet(path) if name == "dataset.json" else _of_text(path)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration, OSError) as error:
                if name != "dataset.json":  # which has many meanings
                    reason = str(error).removeprefix(str(path)) if isinstance(error, ValueError | OSError) else ""
                    faults.append(f"{path}{reason or ' is no table of classes: it needs a column name'}")
                continue
            repeated = sorted({each for each in found.names if found.names.count(each) > 1})
            if len(found.names) > 1 and not repeated:
                return found, []
            if repeated:
                faults.append(f"{path} names {repeated[0]!r} more than once")
    return None, faults


def _of_text(path: Path) -> KnownClasses:
    lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if path.name == "labelmap.txt":  # of CVAT: name:r,g,b:parts:actions
        rows = [line.split(":") for line in lines if not line.startswith("#")]
        colors = tuple(_three(*row[1].split(",")) for row in rows)
        return KnownClasses(path, tuple(row[0] for row in rows), colors)
    if path.suffix != ".csv":
        return KnownClasses(path, tuple(line for line in lines if not line.startswith("#")))
    table = list(_rows(lines))
    key = next(key for key in ("name", "class", "class name", "label", "names") if key in table[0])
    names = tuple(row[key] for row in table)
    for triple in COLOR:
        if set(triple) <= table[0].keys():
            return KnownClasses(path, names, tuple(_three(*(row[part] for part in triple)) for row in table))
    value = next((each for each in VALUE if each in table[0] and each != key), None)
    return KnownClasses(path, names, None, None if value is None else tuple(int(row[value]) for row in table))


def _rows(lines: list[str]) -> Iterator[dict[str, str]]:
    table = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count), skipinitialspace=True)
    head = [cell.strip().lower() for cell in next(table)]
    for row in table:
        yield dict(zip(head, (cell.strip() for cell in row), strict=False))


def _of_nnunet(path: Path) -> KnownClasses:
    labels = json.loads(path.read_bytes())["labels"].items()  # name: value, or value: name in older files
    pairs = [(name, int(value)) if str(value).isdigit() else (str(value), int(name)) for name, value in labels]
    pairs.sort(key=lambda pair: pair[1])
    return KnownClasses(path, tuple(name for name, _ in pairs), None, tuple(value for _, value in pairs))


def _three(*parts: str) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in parts)
    return red, green, blue
