"""Files of labeling tools, read as regions by image.

A new format is a function from the content of a file to `Labels` and a line in `_file` or `_of_json`.
"""

import binascii
import json
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kseg.data.labeling import coco, cvat, label_studio, labelme, yolo
from kseg.data.labeling.content import Labels, Picture
from kseg.data.labeling.regions import Region, draw

__all__ = ["KINDS", "Labels", "Picture", "Region", "draw", "read_labels"]

KINDS = "COCO, labelme, CVAT (XML for images, Datumaro JSON), Label Studio (JSON) and YOLO polygons"


def read_labels(path: Path) -> Labels:
    """Reads a file, or a folder with one file per image; errors name the file."""
    if not path.is_dir():
        return _file(path)
    files = sorted(file for file in path.rglob("*") if not file.name.startswith(".") and file.is_file())
    found = {suffix: [file for file in files if file.suffix.lower() == suffix] for suffix in (".json", ".xml", ".txt")}
    if found[".json"] or found[".xml"]:
        parts = [_file(file) for file in found[".json"] or found[".xml"]]
        kinds = sorted({part.kind for part in parts})
        if len(parts) > 1 and kinds not in (["labelme"], ["Label Studio"]):
            some = ", ".join(file.name for file in (found[".json"] or found[".xml"])[:3])
            raise ValueError(f"{path} holds {len(parts)} annotation files ({some}): name one of them")
        return _joined(parts) if len(parts) > 1 else parts[0]
    if found[".txt"]:
        return yolo.text_files(path, found[".txt"])
    raise FileNotFoundError(f"there are no annotation files in {path}: it must hold .json, .xml or YOLO's .txt")


def _file(path: Path) -> Labels:
    try:
        if path.suffix.lower() == ".xml":
            return cvat.images(xml.fromstring(path.read_bytes()))
        if path.suffix.lower() != ".json":
            raise ValueError(f"annotations are {KINDS}")
        return _of_json(json.loads(path.read_bytes()), path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there are no annotations at {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, xml.ParseError) as error:
        raise ValueError(f"{path}: not a whole JSON or XML file ({error})") from None
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"{path}: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path}: an entry has no key {error}, or a wrong value for it") from None
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: an entry is not as its format describes it ({error})") from None


def _of_json(content: Any, path: Path) -> Labels:
    if isinstance(content, dict):
        if {"images", "annotations"} <= content.keys():
            return coco.file(content)
        if "shapes" in content:
            return labelme.one_image(content, path)
        if {"items", "categories"} <= content.keys():
            return cvat.datumaro(content)
        if {"data", "annotations"} <= content.keys():
            return label_studio.tasks_of([content])
    if isinstance(content, list) and content and isinstance(content[0], dict):
        if "shapes" in content[0]:
            return cvat.backup(content, path)
        return label_studio.tasks_of(content)
    raise ValueError(f"not a known annotation file; there are {KINDS}")


def _joined(parts: Sequence[Labels]) -> Labels:
    joined = Labels(parts[0].kind, complete=False)
    for part in parts:
        joined.categories = list(dict.fromkeys([*joined.categories, *part.categories]))
        joined.pictures += part.pictures
        joined.skipped += part.skipped
    return joined
