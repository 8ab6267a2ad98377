"""labelme: one JSON file per image."""

import base64
import io
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from kseg.data.labeling import regions
from kseg.data.labeling.content import Labels, Picture
from kseg.data.labeling.regions import Region


def one_image(content: dict[str, Any], path: Path) -> Labels:
    labels = Labels("labelme", complete=False)
    height, width = content.get("imageHeight"), content.get("imageWidth")
    name = content.get("imagePath") or path.with_suffix("").name
    labels.pictures = [picture := Picture((name,), (height, width) if height and width else None)]
    if path.stem != PureWindowsPath(name).stem:  # renamed together with its image
        picture.names = (name, path.stem)
    for shape in content["shapes"]:
        points, kind = np.asarray(shape.get("points", []), float).reshape(-1, 2), shape.get("shape_type", "polygon")
        if kind in ("polygon", "oriented_rectangle", "rotation"):  # the latter of X-AnyLabeling
            region = regions.polygon(points.reshape(-1).tolist())
        elif kind == "rectangle":
            (x, y), (right, bottom) = points.min(axis=0), points.max(axis=0)
            region = regions.box(x, y, right - x, bottom - y)
        elif kind == "circle":
            radius = float(np.hypot(*(points[1] - points[0])))
            region = regions.ellipse(points[0, 0], points[0, 1], radius, radius)
        elif kind == "mask":
            with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as mask:
                region = regions.bitmap(np.array(mask) > 0, *np.floor(points[0]).astype(int).tolist())
        else:
            region = Region()
        labels.add(picture, shape["label"], region, kind)
    return labels
