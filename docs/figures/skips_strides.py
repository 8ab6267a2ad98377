"""The finest class map that scores at stride 32, 16 and 8 can give for one drawn street."""

import numpy as np
from keras import ops

from kseg import data, metrics, visualize
from kseg.layers import ScoreUpsampling

SIZE = (256, 320)
"""Height and width, multiples of 32."""


def shares(label: np.ndarray, stride: int, num_classes: int) -> np.ndarray:
    """The share of each class in each cell of `stride` x `stride` pixels: float32 `(H / stride, W / stride, C)`."""
    one_hot = np.eye(256, dtype="float32")[label][..., :num_classes]
    height, width = label.shape
    cells = one_hot.reshape(height // stride, stride, width // stride, stride, num_classes).mean(axis=(1, 3))
    return np.asarray(cells / np.maximum(cells.sum(axis=-1, keepdims=True), 1e-6))


def upsampled(label: np.ndarray, stride: int, num_classes: int) -> np.ndarray:
    """The shares, upsampled to the size of the label as FCN upsamples its scores: float32 `(H, W, C)`."""
    scores = ScoreUpsampling(stride)(shares(label, stride, num_classes)[None], like=label[None, ..., None])
    return np.asarray(ops.convert_to_numpy(scores)[0])


def draw() -> np.ndarray:
    """Draws the label, and the class maps at the three strides with their IoU."""
    street = data.load("streets", "test", size=SIZE)
    _, label = street[0]
    pole, titles, maps = street.classes.index("pole"), ["label"], [label]
    for stride in (32, 16, 8):
        found = upsampled(label, stride, street.num_classes).argmax(axis=-1)
        scores = metrics.scores(metrics.confusion_matrix(label, found, street.num_classes))
        titles.append(f"stride {stride}: mIoU {100 * scores['miou']:.0f} %, pole {100 * scores['iou'][pole]:.0f} %")
        maps.append(found)
    panels = [visualize.colorize(each, street.palette) for each in maps]
    halves = [visualize.grid([panels[i : i + 2]], titles=titles[i : i + 2], font_size=15) for i in (0, 2)]
    footer = visualize.legend(street.classes, street.palette, width=halves[0].shape[1])
    return visualize.grid([[half] for half in halves], footer=footer, gap=0)
