"""COCO: polygons, run lengths, and their compressed form."""

from typing import Any

from kseg.data.labeling import regions
from kseg.data.labeling.content import Labels, Picture
from kseg.data.labeling.regions import Region


def file(content: dict[str, Any]) -> Labels:
    if any("segments_info" in entry for entry in content["annotations"][:1]):
        raise ValueError("COCO's panoptic annotations hold no outlines: use instances_*.json")
    kinds = sorted(content.get("categories", []), key=lambda kind: int(kind["id"]))
    used = {entry.get("category_id") for entry in content["annotations"]}
    # Roboflow's files begin with a category for the whole data set, which no object has.
    kinds = [kind for kind in kinds if kind.get("supercategory") != "none" or kind["id"] in used or kind["id"] != 0]
    names = {kind["id"]: str(kind["name"]).strip() for kind in kinds}
    labels = Labels("COCO", list(dict.fromkeys(names.values())))
    pictures = {}
    for entry in content["images"]:
        size = (int(entry["height"]), int(entry["width"])) if "height" in entry and "width" in entry else None
        pictures[entry["id"]] = Picture((entry["file_name"],), size)
    labels.pictures = list(pictures.values())
    for entry in content["annotations"]:
        picture, shape = pictures.get(entry["image_id"]), entry.get("segmentation")
        if picture is None:
            labels.skipped["objects of images that the file does not list"] += 1
            continue
        if entry.get("category_id") not in names:
            raise ValueError(f"annotation {entry.get('id')} has category_id {entry.get('category_id')}, not listed")
        try:
            region = _region(shape, picture.size) if shape else Region()
        except ValueError as error:
            raise ValueError(f"annotation {entry.get('id')}: {error}") from None
        if region.is_empty:
            labels.skipped["boxes without an outline"] += 1
        else:
            picture.objects.append((names[entry["category_id"]], region))
    return labels


def _region(shape: Any, size: tuple[int, int] | None) -> Region:
    if isinstance(shape, dict):
        height, width = shape["size"]
        if size not in (None, (height, width)):
            raise ValueError(f"run lengths of {height}x{width} pixels for an image of {size[0]}x{size[1]}")
        return regions.runs(shape["counts"], (0, 0, width, height), by_columns=True)
    return regions.polygon(*([shape] if isinstance(shape[0], int | float) else shape))
