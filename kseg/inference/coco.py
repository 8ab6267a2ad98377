"""Label maps as COCO annotations: run lengths, boxes and areas."""

from typing import Any

import numpy as np


def annotations(label: np.ndarray, num_classes: int) -> list[dict[str, Any]]:
    """Converts a label map to one COCO annotation per class that occurs, without `id` and `image_id`.

    Values that are not a class are left out. The segmentation consists of uncompressed run lengths, column by column,
    starting with pixels outside. `iscrowd` is 1, since one annotation may cover many objects.
    """
    height, width = label.shape
    columns = label.T.reshape(-1)
    ends = np.append(np.flatnonzero(columns[1:] != columns[:-1]) + 1, columns.size)
    starts = np.append(0, ends[:-1])
    values = columns[starts]
    found = []
    for index in np.unique(values[values < num_classes]).tolist():
        inside = values == index
        first, last = starts[inside], ends[inside]
        edges = np.stack([first, last], axis=1).reshape(-1)
        counts = np.diff(np.concatenate([[0], edges, [columns.size]]))
        counts = counts if counts[-1] else counts[:-1]
        x, y = _extent((label == index).any(axis=0)), _extent((label == index).any(axis=1))
        found.append(
            {
                "category_id": index,
                "segmentation": {"size": [height, width], "counts": counts.tolist()},
                "bbox": [x[0], y[0], x[1] - x[0], y[1] - y[0]],
                "area": int((last - first).sum()),
                "iscrowd": 1,
            }
        )
    return found


def _extent(occupied: np.ndarray) -> tuple[int, int]:
    places = np.flatnonzero(occupied)
    return int(places[0]), int(places[-1]) + 1
