"""A prediction that misses every pedestrian and is right elsewhere."""

import numpy as np

from kseg import data, metrics, visualize

SIZE, INDEX = (240, 320), 0


def without(label: np.ndarray, class_id: int) -> np.ndarray:
    """The label with each pixel of a class replaced by the nearest labeled pixel of another class in its row."""
    found = label.copy()
    for row in found:
        others = np.flatnonzero((row != class_id) & (row != 255))
        for column in np.flatnonzero(row == class_id):
            row[column] = row[others[np.argmin(np.abs(others - column))]]
    return found


def draw() -> np.ndarray:
    """Draws the image, its label and the prediction, with its scores."""
    street = data.load("streets", "test", size=SIZE)
    image, label = street[INDEX]
    pedestrian = street.classes.index("pedestrian")
    found = without(label, pedestrian)
    scores = metrics.scores(metrics.confusion_matrix(label, found, street.num_classes))
    names = (f"accuracy {100 * scores['pixel_accuracy']:.1f} %", f"mIoU {100 * scores['miou']:.1f} %")
    maps = [visualize.colorize(each, street.palette) for each in (label, found)]
    return visualize.grid(
        [[np.asarray(image, "uint8"), *maps]],
        titles=["drawn street", "label", ", ".join(names)],
        font_size=20,
        footer=lambda width: visualize.legend(street.classes, street.palette, width=width),
    )
