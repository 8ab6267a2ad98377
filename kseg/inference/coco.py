"""Label maps as COCO annotations: run lengths, boxes and areas."""

from collections.abc import Collection
from typing import Any

import numpy as np


def annotations(label: np.ndarray, num_classes: int, *, without: Collection[int] = ()) -> list[dict[str, Any]]:
    """Converts a label map to one COCO annotation per class that occurs, without `id` and `image_id`.

    `without` are class ids to leave out.

    Run lengths are uncompressed; `iscrowd` is 1, since one annotation may cover many objects.
    """
    height, width = label.shape
    columns = label.T.reshape(-1)
    ends = np.append(np.flatnonzero(columns[1:] != columns[:-1]) + 1, columns.size)
    starts = np.append(0, ends[:-1])
    values = columns[starts]
    found = []
    for index in np.setdiff1d(values[values < num_classes], list(without)).astype(int).tolist():
        inside = values == index
        first, last = starts[inside], ends[inside]
        edges = np.stack([first, last], axis=1).reshape(-1)
        counts = np.diff(np.concatenate([[0], edges, [columns.size]]))
        counts = counts if counts[-1] else counts[:-1]
        x, y = (np.flatnonzero((label == index).any(axis=axis)).tolist() for axis in (0, 1))
        found.append(
            {
                "category_id": index,
                "segmentation": {"size": [height, width], "counts": counts.tolist()},
                "bbox": [x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1],
                "area": int((last - first).sum()),
                "iscrowd": 1,
            }
        )
    return found
