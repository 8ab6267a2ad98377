"""The mean of the mIoU of batches depends on the batch size; the mIoU of the data set does not."""

import numpy as np
from matplotlib.figure import Figure

from docs.figures import style
from docs.figures.skips_strides import upsampled
from kseg import data, metrics

COUNT, SIZES = 24, (1, 2, 3, 4, 6, 8, 12, 24)


def matrices() -> np.ndarray:
    """The confusion matrix of each crop, int64 `(COUNT, C, C)`: labels, and the best class map at stride 8."""
    streets = data.load("streets", "test", size=(96, 128), count=COUNT)
    found = []
    for index in range(COUNT):
        _, label = streets[index]
        left = 37 * index % 80  # somewhere else in each image
        label = label[24:72, left : left + 48]
        prediction = upsampled(label, 8, streets.num_classes).argmax(axis=-1)
        found.append(metrics.confusion_matrix(label, prediction, streets.num_classes))
    return np.stack(found)


def mean_of_batches(images: np.ndarray, size: int, absent: float) -> float:
    """The mean of the mIoU of batches of `size` images, where absent classes have this IoU; NaN leaves them out."""
    found = []
    for batch in images.reshape(-1, size, *images.shape[1:]).sum(axis=1):
        iou = metrics.scores(batch)["iou"]
        found.append(np.nanmean(np.where(np.isnan(iou), absent, iou)))
    return float(np.mean(found))


def draw() -> Figure:
    """Draws the means over the batch size for three rules for absent classes, and the mIoU of the data set."""
    images = matrices()
    figure, (axes,) = style.panels(1, width=5.4, height=2.6)
    rules = {
        "absent classes: IoU 1": (1.0, style.ORANGE),
        "absent classes left out": (np.nan, style.GREEN),
        "absent classes: IoU 0": (0.0, style.PURPLE),
    }
    for name, (absent, color) in rules.items():
        values = [100 * mean_of_batches(images, size, absent) for size in SIZES]
        axes.plot(range(len(SIZES)), values, "o-", color=color, label=name, markersize=4)
    whole = 100 * metrics.scores(images.sum(axis=0))["miou"]
    axes.axhline(whole, color=style.BLUE, linewidth=2, label="one matrix of all crops")
    axes.set_xticks(range(len(SIZES)), [str(size) for size in SIZES])
    axes.set(xlabel=f"crops per batch, of {COUNT}", ylabel="mIoU, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
