"""Random labels and logits."""

import numpy as np


def sample(classes=4, shape=(2, 5, 6), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape).astype("uint8")
    labels[rng.random(shape) < 0.2] = 255
    return labels, rng.normal(scale=3, size=(*shape, classes)).astype("float32")
