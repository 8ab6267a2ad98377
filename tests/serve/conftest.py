"""A model whose answer is known, and its service."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import pretrained

CLASSES, PALETTE = ("background", "green", "blue"), ((10, 20, 30), (0, 200, 0), (0, 0, 250))


@pytest.fixture(scope="session")
def brightest():
    """A model that labels each pixel with its brightest color."""
    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1)
    model = pretrained.SegmentationModel.of(
        keras.Model(image, layer(image), name="brightest"), classes=CLASSES, palette=PALETTE
    )
    layer.set_weights([np.eye(3)[None, None], np.zeros(3)])
    return model


@pytest.fixture(scope="session")
def picture():
    """Areas of the three classes, uint8 `(6, 8, 3)`: red, a green and a blue rectangle."""
    found = np.zeros((6, 8, 3), "uint8")
    found[..., 0] = 100
    found[1:3, 1:4, 1], found[4:, 5:, 2] = 200, 200
    return found


def encoded(picture, kind="PNG", **options):
    """An image file."""
    file = io.BytesIO()
    np.save(file, picture) if kind == "NumPy" else Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()
