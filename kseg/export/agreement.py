"""The comparison of an exported model with the Keras model."""

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from kseg import data
from kseg.engines import Exported, as_labels, as_probabilities, step_of
from kseg.layers import MaxPoolingWithArgmax2D
from kseg.metrics import confusion_matrix, gives_logits, scores

LABELS = {"float32": 0.999, "float16": 0.995}
"""Smallest share of pixels at which labels must be equal; in drawn images, two classes are often nearly equal."""
TOLERANCE = {"float32": 1e-3, "float16": 1e-2}
"""Largest difference of scores, as a share of the largest score."""
CHOSEN = 0.9
"""Share of scores within `TOLERANCE` for models with argmax pooling, which may choose another of two equal values."""
INT8 = 0.9
"""Share of the Keras model's mIoU below which an int8 file is worth a warning."""
SIZES = ((128, 160), (97, 131))
"""Sizes of the drawn images for models of any size."""
FOREIGN_SIZES = ((128, 160), (96, 192))
"""The same for models of other origin, which may need multiples of 32."""


class Report(NamedTuple):
    """What was written, and how it compares with the Keras model.

    Attributes:
        path: The file, or the folder of a SavedModel.
        labels: Share of pixels with equal labels: on drawn street images, or, in int8, on the images that were held
            out.
        miou: In int8, the mIoU on images that were held out from the calibration: against their label maps for a data
            set, otherwise against the labels of the Keras model. NaN in other precisions.
        keras_miou: The mIoU of the Keras model on the same images; NaN without label maps.
    """

    path: pathlib.Path
    labels: float
    miou: float = math.nan
    keras_miou: float = math.nan

    @property
    def warning(self) -> str:
        """What is wrong if the mIoU in int8 is below `INT8` of that of the Keras model; otherwise empty."""
        against = 1.0 if math.isnan(self.keras_miou) else self.keras_miou
        if math.isnan(self.miou) or self.miou >= INT8 * against:
            return ""
        return (
            f"the mIoU of {self.path.name} is {self.miou:.4f}, that of the Keras model {against:.4f}: calibrate with "
            "more typical images, or use another format or float16"
        )


def street_images(model: keras.Model, size: tuple[int, int] | None) -> list[np.ndarray]:
    """Draws images `(H, W, C)` for a model: two of each size, with the channels that it takes."""
    _, *own, channels = model.inputs[0].shape
    sizes = SIZES if getattr(model, "builder", "") else FOREIGN_SIZES
    images, step = [], step_of(model)
    for default in (size,) if size else sizes if None in own else sizes[:1]:
        height, width = (side or given + -given % step for side, given in zip(own, default, strict=True))
        streets = data.streets("test", size=(max(32, height), max(32, width)), count=2)
        images += [streets[index][0][:height, :width, np.arange(channels) % 3] for index in range(2)]
    return images


def check_agreement(exported: Exported, model: keras.Model, images: Sequence[np.ndarray], precision: str) -> float:
    """Returns the share of pixels with equal labels.

    Raises:
        RuntimeError: If fewer labels are equal than `LABELS` says, or scores differ more than by `TOLERANCE`.
    """
    from_logits, equal, within = gives_logits(model), [], CHOSEN if _chooses(model) else 1
    cure = "" if precision == "float32" else f": {precision} is too coarse for it, use float32"
    for image in images:
        expected = scores_of(model, image)
        found = run(exported, image)
        labels = as_labels(expected, from_logits=from_logits)
        if exported.output == "labels":
            share = np.mean(_same_shape(found, labels, exported) == labels)
        else:
            if exported.output == "probabilities" and from_logits:
                expected = as_probabilities(expected)
            _same_shape(found, expected, exported)
            difference = float(np.quantile(np.abs(found - expected), within) / max(1e-6, np.abs(expected).max()))
            if not difference <= TOLERANCE[precision]:
                raise RuntimeError(
                    f"{exported.name} gives other {exported.output} than {model.name}: they differ by "
                    f"{difference:.2%}{cure}"
                )
            share = np.mean(as_labels(found, from_logits=exported.from_logits) == labels)
        equal.append(float(share))
    if (mean := float(np.mean(equal))) < LABELS[precision]:
        raise RuntimeError(f"{exported.name} gives only {mean:.2%} of the labels of {model.name}{cure}")
    return mean


def _chooses(model: keras.Model) -> bool:
    """Returns whether a model has argmax pooling."""
    kinds = (each for each in model.layers if isinstance(each, MaxPoolingWithArgmax2D | keras.Model))
    return any(not isinstance(each, keras.Model) or _chooses(each) for each in kinds)


def compare_int8(
    exported: Exported, model: keras.Model, images: Sequence[np.ndarray], truth: Sequence[np.ndarray] | None
) -> Report:
    """Compares an int8 model on images `(H, W, C)` that were held out, and on their label maps if there are some.

    Raises:
        RuntimeError: If the outputs have other shapes than those of the model, also at a second size for files of any.
    """
    from_logits, classes = gives_logits(model), max(2, model.outputs[0].shape[-1])

    def both(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, found = scores_of(model, image), run(exported, image)
        labels = as_labels(scores, from_logits=from_logits)
        _same_shape(found, labels if exported.output == "labels" else scores, exported)
        return (found if exported.output == "labels" else as_labels(found, from_logits=exported.from_logits)), labels

    found, expected = zip(*map(both, images), strict=True)
    equal = float(np.mean([np.mean(ours == theirs) for ours, theirs in zip(found, expected, strict=True)]))
    if None in exported.inputs[0].shape[1:3]:
        both(_second_size(images[0], exported.inputs[0].shape[1:3], exported.step))

    def miou(labels: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> float:
        matrices = [confusion_matrix(*pair, classes) for pair in zip(labels, predicted, strict=True)]
        return float(scores(np.sum(matrices, axis=0))["miou"])

    if truth is None:
        return Report(exported.path, equal, miou(expected, found))
    return Report(exported.path, equal, miou(truth, found), miou(truth, expected))


def _second_size(image: np.ndarray, size: Sequence[int | None], step: int) -> np.ndarray:
    """Returns an image made of this one, of another size, which the step and 32 divide where any size may be."""
    multiple = math.lcm(step, 32)
    sides = [each or multiple * (1 + given // (2 * multiple)) for each, given in zip(size, image.shape, strict=False)]
    return np.resize(image, (*sides, image.shape[-1]))


def scores_of(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Returns the scores of a Keras model for an image, float32 `(H, W, num_classes)`."""
    shape, dtype = model.inputs[0].shape, model.inputs[0].dtype
    images = np.repeat(image[None].astype(dtype), shape[0] or 1, axis=0)
    return np.asarray(model.predict_on_batch(images)[0], "float32")


def run(exported: Exported, image: np.ndarray) -> np.ndarray:
    """Returns the output of an exported model for an image; one of a fixed batch size gets copies of it."""
    return exported.run(np.repeat(image[None], exported.inputs[0].shape[0] or 1, axis=0))[0]


def _same_shape(found: np.ndarray, expected: np.ndarray, exported: Exported) -> np.ndarray:
    if found.shape != expected.shape:
        raise RuntimeError(f"{exported.name} gives the shape {found.shape}, not {expected.shape}")
    return found
