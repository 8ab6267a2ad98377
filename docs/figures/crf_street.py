"""The released DeepLab V2 on a drawn street, without and with a dense CRF."""

import numpy as np

from kseg import data, inference, visualize, zoo

SIZE = (240, 320)


def draw() -> np.ndarray:
    """Draws the image, the labels of the network and those of the CRF."""
    image = np.asarray(data.load("streets", "test", size=SIZE)[0][0], "uint8")
    model = zoo.load("deeplabv2-efficientnet_lite0-camvid")
    before = inference.Predictor(model).probabilities(image)
    after = inference.dense_crf(image, before)
    maps = [visualize.colorize(p.argmax(axis=-1), model.palette) for p in (before, after)]
    return visualize.grid(
        [[image, *maps]],
        titles=["drawn street", "DeepLab V2", "DeepLab V2 and dense CRF"],
        font_size=20,
        footer=lambda width: visualize.legend(model.classes, model.palette, width=width),
    )
