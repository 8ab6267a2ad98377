"""The images that set the ranges of int8, and those that are held out to score it."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kseg.data import Dataset
from kseg.engines import step_of
from kseg.inference import Predictor, calibration_images, fitted, list_images, spread

HELD_OUT = 4
"""Every fourth image is held out from the calibration."""


def split(
    model: keras.Model, calibration: Any, size: Sequence[int | None]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray] | None]:
    """Returns the images for calibration, those that are held out, and the label maps of the latter, if known."""
    if calibration is None:
        return [], [], None
    read, truth, step = Predictor(model).read, None, step_of(model)
    if isinstance(calibration, Dataset):
        if (needed := calibration.num_classes) != (channels := model.outputs[0].shape[-1]):
            raise ValueError(
                f"{calibration.name} needs a model with num_classes={needed}, {model.name} has {channels}: "
                "calibrate with the data of the training, or with images alone (calibration=)"
            )
        pairs = [calibration[index] for index in spread(len(calibration))]
        calibration = [image for image, _ in pairs]
        truth = [fitted(label, size, step) for _, label in pairs][HELD_OUT - 1 :: HELD_OUT]
    else:
        named = isinstance(calibration, str | os.PathLike)
        sources = list_images(calibration) if named else list(calibration)
        calibration = [sources[index] for index in spread(len(sources))]
    images = calibration_images(calibration, read, size, step)
    if len(images) < HELD_OUT:
        raise ValueError(f"int8 needs {HELD_OUT} images or more, of which one is held out, got {len(images)}")
    held = images[HELD_OUT - 1 :: HELD_OUT]
    del images[HELD_OUT - 1 :: HELD_OUT]
    return images, held, truth
