"""Pictures of a few images of a split, their labels, and the predictions of models."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kseg import data, visualize
from kseg.inference import Predictor


def sample_picture(
    models: Mapping[str, keras.Model], split: data.Dataset, places: np.ndarray, **options: Any
) -> np.ndarray:
    """Draws one row per image: the image, its label, and the prediction of each model, by the titles of their columns.

    `places` are indices, e.g. `np.linspace(0, len(split) - 1, 4)`; fractions are cut off, and each index is drawn once.
    The options are those of `kseg.visualize.grid`.
    """
    predictors = [Predictor(model, tile=1024) for model in models.values()]
    rows = []
    for place in np.unique(np.asarray(places, int)):
        image, label = split[int(place)]
        predicted = [predictor(image) for predictor in predictors]
        rows.append([image, *(visualize.colorize(mask, split.palette) for mask in (label, *predicted))])
    return visualize.grid(rows, titles=["image", "label", *models], **options)
