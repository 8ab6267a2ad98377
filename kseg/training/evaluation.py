"""Scores of a model on a whole split, at full size."""

import os
import time
import weakref
from typing import Any

import keras
import numpy as np

from kseg import data, metrics, zoo
from kseg.progress import Reporter


def evaluate(
    model: keras.Model | str | os.PathLike,
    dataset: data.Dataset,
    *,
    batch_size: int = 8,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Scores a model on every image of a data set, unaugmented and at full size.

    Args:
        model: A model, or a weight file by kseg.
        dataset: The images and labels, e.g. `kseg.data.load("camvid", "test")`.
        batch_size: Images a step; changes no score.
        reporter: Shows how far it has come.

    Returns:
        `miou`, `pixel_accuracy`, `mean_accuracy` and `frequency_weighted_iou` (0 to 1) from one confusion matrix over
        all pixels; `iou`, by class name, None for a class that neither occurs nor is predicted; `confusion_matrix`,
        rows true, columns predicted; `images` and `seconds`. JSON types only.

    Raises:
        FileNotFoundError: The weight file is not there.
        ValueError: The model's classes contradict the data set's, or the data set is empty.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> scores = evaluate(model, data.load("streets", "val", count=3, size=(32, 32)), batch_size=2)
        >>> scores["images"], sum(map(sum, scores["confusion_matrix"])) <= 3 * 32 * 32
        (3, True)
    """
    start = time.perf_counter()
    if not isinstance(model, keras.Model):
        model = zoo.load(model)
    check_classes(model, dataset)
    classes = len(dataset.classes)
    matrix = np.zeros((classes, classes), "int64")
    reporter = reporter or Reporter(quiet=True)
    filled: dict[tuple[int, ...], int] = {}  # shape of the images -> size of the batches that the model is compiled for
    with reporter.task("evaluating", len(dataset)) as advance:
        for images, labels in data.evaluation_loader(dataset, batch_size=batch_size, by_size=True):
            count = len(images)
            size = filled.setdefault(images.shape[1:], min(batch_size, 1 << (count - 1).bit_length()))
            images, labels = _filled(np.asarray(images), np.asarray(labels), size, dataset.ignore_class)
            predicted = labeller(model).predict_on_batch(images)
            matrix += metrics.confusion_matrix(labels, predicted, classes, ignore_class=dataset.ignore_class)
            advance(count)
    result = metrics.scores(matrix)
    ious = [None if np.isnan(iou) else float(iou) for iou in result["iou"]]
    return {
        **{name: float(value) for name, value in result.items() if np.ndim(value) == 0},
        "iou": dict(zip(dataset.classes, ious, strict=True)),
        "confusion_matrix": matrix.tolist(),
        "images": len(dataset),
        "seconds": round(time.perf_counter() - start, 3),
    }


def labeller(model: keras.Model) -> keras.Model:
    """Returns the model that ends in classes, uint8 `(N, H, W)`: to fetch its scores takes longer than to choose.

    Args:
        model: Gives logits or probabilities `(N, H, W, C)`, up to 256 classes.

    Returns:
        A model on the same layers; the same one each time, since it is compiled when it first predicts.
    """
    if model not in _LABELLERS:
        labels = _Labels(metrics.gives_logits(model), name=f"labels_of_{model.name}", autocast=False)
        _LABELLERS[model] = keras.Model(model.input, labels(model.output))
    return _LABELLERS[model]


_LABELLERS: weakref.WeakKeyDictionary[keras.Model, keras.Model] = weakref.WeakKeyDictionary()


class _Labels(keras.layers.Layer):
    """Scores to uint8 classes; a layer, because the names of bare operations can meet those of a loaded model's."""

    def __init__(self, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.from_logits = from_logits

    def call(self, scores: Any) -> Any:
        return keras.ops.cast(metrics.classes_of(scores, from_logits=self.from_logits), "uint8")


def check_classes(model: keras.Model, dataset: data.Dataset) -> None:
    """Raises a ValueError if the model's classes are not those of the data set, or that has no images."""
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} has no images")
    if isinstance(model.output, dict | list):
        raise ValueError(f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale")
    channels = model.output_shape[-1]
    if channels != dataset.num_classes:
        raise ValueError(
            f"the model has num_classes={channels}, {dataset.name} needs {dataset.num_classes} "
            f"({', '.join(dataset.classes)})"
        )
    classes = getattr(model, "classes", None)
    if classes and tuple(classes) != tuple(dataset.classes):
        raise ValueError(
            f"the model's classes are {', '.join(classes)}; those of {dataset.name} are {', '.join(dataset.classes)}"
        )


def _filled(images: np.ndarray, labels: np.ndarray, size: int, ignore_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Fills a short batch with ignored images: a batch of another size would be compiled anew."""
    missing = [(0, size - len(images))]
    images = np.pad(images, missing + [(0, 0)] * (images.ndim - 1))
    return images, np.pad(labels, missing + [(0, 0)] * (labels.ndim - 1), constant_values=ignore_class)
