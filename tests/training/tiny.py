"""A builder that trains in seconds and has all that makes resuming hard: a nested encoder, BatchNorm, dropout."""

import keras
import numpy as np

from kseg import zoo
from kseg.layers import BatchNormalization, SegmentationHead
from tests.data import folders


@zoo.builder
def tiny(
    num_classes,
    *,
    encoder="small",
    encoder_weights=None,
    activation=None,
    dropout=0.2,
    weights=None,
    input_shape=(None, None, 3),
):
    pixels = keras.Input(input_shape, name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="rescale")(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = BatchNormalization(momentum=0.9, name="norm")(x)
    x = keras.layers.Activation("relu", name="relu")(x)
    image = keras.Input(input_shape, name="image")
    x = keras.Model(pixels, x, name="encoder")(image)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="decode")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = SegmentationHead(num_classes, activation=activation, name="head")(x, like=image)
    return keras.Model(image, logits, name="tiny")


def content(**sections):
    """A recipe as a dict: three short epochs of `tiny` on `streets`; sections are merged into it."""
    recipe = {
        "epochs": 3,
        "tensorboard": False,
        "data": {
            "name": "streets",
            "batch_size": 4,
            "crop": [32, 32],
            "options": {"size": [48, 48], "count": 10, "memory_limit": 10**7},
        },
        "model": {"builder": "tiny", "encoder": "small", "encoder_weights": "none"},
        "optimizer": {"learning_rate": 0.01, "encoder_factor": 0.5},
    }
    for name, section in sections.items():
        recipe[name] = {**recipe.get(name, {}), **section} if isinstance(section, dict) else section
    return recipe


def folder(root, images):
    """Writes images, masks of two classes and a list of all images, and returns the `[data]` section of a recipe."""
    rng, stems = np.random.default_rng(0), [f"{index:03}" for index in range(images)]
    for stem in stems:
        folders.write_pair(root, stem, rng.integers(0, 2, (40, 44)).astype("uint8"))
    (root / "train.txt").write_text("\n".join(stems))
    return {"folder": str(root), "classes": ["a", "b"], "batch_size": 4, "crop": [32, 32]}
