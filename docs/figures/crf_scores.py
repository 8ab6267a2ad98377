"""What CRFs make of scores at stride 16 that are right on average over each cell."""

import numpy as np
from keras import ops

from docs.figures.skips_strides import upsampled
from kseg import data, inference, metrics, visualize
from kseg.layers import ConvCRF

SIZE, STRIDE = (192, 256), 16


def draw() -> np.ndarray:
    """Draws the class maps before and after a ConvCRF and a dense CRF, and the pixels that are wrong."""
    street = data.load("streets", "test", size=SIZE)
    image, label = street[0]
    before = upsampled(label, STRIDE, street.num_classes)
    layer = ConvCRF(from_logits=False, activation="softmax", smoothness=0, appearance_rgb=20, radius=5, stride=2)
    local = ops.convert_to_numpy(layer(before[None], np.asarray(image, "float32")[None]))[0]
    ways = {
        f"scores at stride {STRIDE}": before,
        "ConvCRF": local,
        "dense CRF": inference.dense_crf(image, before),
    }
    titles, maps, errors = [], [], []
    for name, p in ways.items():
        found = p.argmax(axis=-1)
        scores = metrics.scores(metrics.confusion_matrix(label, found, street.num_classes))
        titles.append(f"{name}: mIoU {100 * scores['miou']:.0f} %")
        maps.append(visualize.colorize(found, street.palette))
        errors.append(visualize.error_map(label, found, shares=False))
    return visualize.grid([maps, errors], titles=titles, font_size=16)
