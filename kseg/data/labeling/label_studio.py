"""Label Studio: polygons, boxes, ellipses and brushes of its JSON and JSON-MIN exports."""

import re
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from kseg.data.labeling import regions
from kseg.data.labeling.content import Labels, Picture
from kseg.data.labeling.regions import Region

ANSWERS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels", "labels")
SUBMITTED = {"annotator", "annotation_id"}  # keys of JSON-MIN, also if there are no regions
UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # precedes the names of uploaded files


def tasks_of(tasks: Sequence[dict[str, Any]]) -> Labels:
    labels = Labels("Label Studio", complete=False)
    for task in tasks:
        data = task.get("data", task)
        source = next((value for value in data.values() if isinstance(value, str) and _is_picture(value)), None)
        if source is None:
            raise ValueError("not a known annotation file, or a task of Label Studio without an image")
        whole = next((task[key] for key in ("annotations", "completions") if key in task), None)
        answers = [answer for answer in whole or () if not answer.get("was_cancelled")]
        minimal = list(_minimal(task)) if whole is None else []
        if not answers and not minimal and (whole is not None or not SUBMITTED & task.keys()):
            labels.skipped["images whose task was skipped" if whole else "images that nobody labeled"] += 1
            continue
        name = _address(source)
        labels.pictures.append(picture := Picture((name,), None))
        if UPLOADED.match(PureWindowsPath(name).name):
            picture.names = (name, UPLOADED.sub("", PureWindowsPath(name).name))
        if len(answers) > 1:
            labels.skipped["older annotations of the same image"] += len(answers) - 1
        results = answers[-1]["result"] if answers else minimal
        by_id: dict[str, list[str]] = {}  # a region and its label can be two entries of the same id
        for result in results:
            for key in ANSWERS:
                if result.get("value", {}).get(key):
                    by_id[str(result.get("id"))] = result["value"][key]
        for result in results:
            value, kind = result.get("value", {}), str(result.get("type"))
            if kind == "labels" or kind == "choices" or kind == "textarea":
                continue
            width, height = result["original_width"], result["original_height"]
            picture.size = (height, width)
            names = next((value[key] for key in ANSWERS if value.get(key)), by_id.get(str(result.get("id")), []))
            if names:
                labels.add(picture, names[0], _region(kind, value, width, height), kind)
            else:
                labels.skipped["regions without a label"] += 1
    return labels


def _minimal(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the regions of Label Studio's format JSON-MIN as those of its full format."""
    for answer in task.values():
        for entry in answer if isinstance(answer, list) else ():
            kind = next((key for key in ANSWERS if isinstance(entry, dict) and key in entry), None)
            if kind is not None:
                yield {**entry, "value": entry, "type": kind}


def _region(kind: str, value: dict[str, Any], width: int, height: int) -> Region:
    percent = np.array([width, height]) / 100
    if kind.startswith("polygon"):
        return regions.polygon((np.asarray(value["points"], float) * percent).reshape(-1).tolist())
    if kind.startswith("brush") and value.get("format") == "rle":
        alpha = unpacked(bytes(value["rle"])).reshape(height, width, 4)[..., 3]
        return regions.bitmap(alpha > 0)
    if not kind.startswith(("rectangle", "ellipse")):
        return Region()
    x, y = (value["x"], value["y"]) * percent
    if kind.startswith("rectangle"):
        across, down = (value["width"], value["height"]) * percent
        return regions.box(x, y, across, down, degrees=value.get("rotation", 0), corner=True)
    return regions.ellipse(x, y, *((value["radiusX"], value["radiusY"]) * percent), degrees=value.get("rotation", 0))


def unpacked(packed: bytes) -> np.ndarray:
    """Decodes the run lengths of Label Studio's brush, a stream of bits: values of R, G, B and alpha.

    Reference: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
    """
    bits, place = "".join(f"{byte:08b}" for byte in packed), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        if place > len(bits):
            raise ValueError("the run lengths of a brush end too early")
        return int(bits[place - count : place], 2)

    total, word, sizes = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.uint8), 0
    while done < total:
        repeats = take(1)
        count = 1 + take(sizes[take(2)])
        values[done : done + count] = take(word) if repeats else [take(word) for _ in range(count)][: total - done]
        done += count
    return values


def _is_picture(value: str) -> bool:
    return "/" in value or "\\" in value or "." in value[-6:]


def _address(source: str) -> str:
    """Returns the path in the address of an image, e.g. of `/data/local-files/?d=photos/a.jpg`."""
    parts = urllib.parse.urlsplit(source)
    path = urllib.parse.parse_qs(parts.query).get("d", [parts.path])[0]
    return urllib.parse.unquote(path) if "://" in source or source.startswith("/data/") else source
