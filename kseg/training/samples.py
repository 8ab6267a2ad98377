"""A few images of a split beside their labels and what models predict."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kseg import data, visualize
from kseg.training.evaluation import labeller


def sample_picture(
    models: Mapping[str, keras.Model], split: data.Dataset, places: np.ndarray, **options: Any
) -> np.ndarray:
    """Draws a row an image: the image, its label, and what each model predicts.

    Args:
        models: By the titles of their columns.
        split: Where the images come from.
        places: Which of its images, e.g. `np.linspace(0, len(split) - 1, 4)`; each once, fractions are cut off.
        **options: As in `kseg.visualize.grid`.

    Returns:
        uint8 `(H, W, 3)`.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> streets = data.load("streets", "val", count=2, size=(32, 40))
        >>> sample_picture({"untrained": model}, streets, [0, 0.5, 1]).shape[2]
        3
    """
    rows = []
    for place in np.unique(np.asarray(places, int)):
        image, label = split[int(place)]
        predicted = [labeller(model).predict_on_batch(image[None])[0] for model in models.values()]
        rows.append([image, *(visualize.colorize(mask, split.palette) for mask in (label, *predicted))])
    return visualize.grid(rows, titles=["image", "label", *models], **options)
