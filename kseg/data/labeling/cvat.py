"""CVAT: its XML for images, the JSON of Datumaro, and the backup of a task."""

import json
import re
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kseg.data.labeling import regions
from kseg.data.labeling.content import Labels, Picture
from kseg.data.labeling.regions import Region


def images(root: xml.Element) -> Labels:
    if root.find("object") is not None or root.tag == "annotation":
        raise ValueError("Pascal VOC's XML files hold boxes only: give the folder SegmentationClass as masks")
    if root.find("track") is not None:
        raise ValueError("CVAT's format for video: export the task as 'CVAT for images 1.1'")
    labels = Labels("CVAT", [(label.findtext("name") or "").strip() for label in root.iterfind(".//labels/label")])
    labels.complete = bool(labels.categories)
    for image in root.iterfind("image"):
        size = (int(image.attrib["height"]), int(image.attrib["width"])) if "height" in image.attrib else None
        labels.pictures.append(picture := Picture((image.attrib["name"],), size))
        for shape in sorted(image, key=lambda shape: int(shape.get("z_order", 0))):
            if shape.tag != "tag":
                labels.add(picture, shape.get("label"), _region(shape.tag, shape.attrib), shape.tag)
    return labels


def _region(kind: str, entry: dict[str, str]) -> Region:
    turn = float(entry.get("rotation", 0))
    if kind == "polygon":
        return regions.polygon([float(number) for number in re.split("[,;]", entry["points"])])
    if kind == "box":
        left, top, right, bottom = (float(entry[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return regions.box(left, top, right - left, bottom - top, degrees=turn)
    if kind == "ellipse":
        x, y, across, down = (float(entry[key]) for key in ("cx", "cy", "rx", "ry"))
        return regions.ellipse(x, y, across, down, degrees=turn)
    if kind == "mask":
        lengths = [int(number) for number in entry["rle"].split(",") if number.strip()]
        return regions.runs(lengths, [float(entry[key]) for key in ("left", "top", "width", "height")])
    return Region()


def backup(content: Sequence[dict[str, Any]], path: Path) -> Labels:
    """Reads `annotations.json` of a task's backup; `data/manifest.jsonl` beside it names the images."""
    manifest = next((file for file in (path.parent / "data/manifest.jsonl", path.parent / "manifest.jsonl")
                     if file.is_file()), None)  # fmt: skip
    if manifest is None:
        raise ValueError("the annotations of a CVAT backup need its data/manifest.jsonl, which names the images")
    frames = [json.loads(line) for line in manifest.read_text("utf-8").splitlines() if line.strip()]
    frames = [frame for frame in frames if "name" in frame]
    labels = Labels("CVAT", complete=False)
    labels.pictures = [
        Picture((frame["name"] + frame.get("extension", ""),), (frame["height"], frame["width"])) for frame in frames
    ]
    for shape in sorted((s for job in content for s in job["shapes"]), key=lambda shape: shape.get("z_order", 0)):
        points, kind, turn = shape["points"], shape["type"], shape.get("rotation", 0)
        region = Region()
        if kind == "polygon":
            region = regions.polygon(points)
        elif kind == "rectangle":
            left, top, right, bottom = points
            region = regions.box(left, top, right - left, bottom - top, degrees=turn)
        elif kind == "ellipse":
            x, y, right, top = points
            region = regions.ellipse(x, y, right - x, y - top, degrees=turn)
        elif kind == "mask":
            *lengths, left, top, right, bottom = points
            region = regions.runs(lengths, (left, top, right - left + 1, bottom - top + 1))
        labels.add(labels.pictures[shape["frame"]], shape["label"], region, kind)
    return labels


def datumaro(content: dict[str, Any]) -> Labels:
    names = [kind["name"] for kind in content["categories"]["label"]["labels"]]
    labels = Labels("CVAT (Datumaro)", names)
    for item in content["items"]:
        image = item.get("image") or item.get("media") or {}
        size = (image["size"][0], image["size"][1]) if image.get("size") else None
        labels.pictures.append(picture := Picture((image.get("path") or item["id"], item["id"]), size))
        for shape in sorted(item["annotations"], key=lambda shape: shape.get("z_order", 0)):
            kind, region = shape["type"], Region()
            if kind in ("label", "caption"):  # of the whole image
                continue
            if kind == "polygon":
                region = regions.polygon(shape["points"])
            elif kind == "bbox":
                region = regions.box(*shape["bbox"])
            elif kind == "mask":
                height, width = shape["rle"]["size"]
                region = regions.runs(shape["rle"]["counts"], (0, 0, width, height), by_columns=True)
            labels.add(picture, names[shape["label_id"]], region, kind)
    return labels
