"""Scores of a model on a whole split, and pictures of its predictions."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kseg import data, metrics, visualize, zoo
from kseg.inference import Predictor, predictions
from kseg.progress import Reporter

SAMPLE_SIDE = 1024
"""Longest side of an image in a sample picture."""


def evaluate(
    model: keras.Model | str | os.PathLike | Predictor | Callable[[np.ndarray], np.ndarray],
    dataset: data.Dataset,
    *,
    batch_size: int = 8,
    reporter: Reporter | None = None,
    loss: Callable[[np.ndarray, Any], Any] | None = None,
    total: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, Any]:
    """Scores a model on every image of a data set, without augmentation and at full size.

    Args:
        model: A model, a weight file or the name of released weights, a `kseg.inference.Predictor`, which scores its
            flips, scales, tiles and CRF, or any function from an image `(H, W, C)` to class ids `(H, W)`.
        dataset: The images and labels, e.g. `kseg.data.load("camvid", "test")`.
        batch_size: Largest number of images per batch; it does not change the scores. See
            `kseg.inference.predictions` for the bound on pixels.
        reporter: Shows the progress.
        loss: A loss of `kseg.losses` to compute as well, of a Keras model or a predictor.
        total: A function that adds an array over several processes, each of which evaluates its part of the data set.

    Returns:
        `miou`, `pixel_accuracy`, `mean_accuracy` and `frequency_weighted_iou` (0 to 1) from one confusion matrix over
        all pixels; `iou` by class name, None for a class that neither occurs nor is predicted; `confusion_matrix`,
        rows are true classes, columns predicted ones; `images` and `seconds`; with `loss`, `loss`, the mean over the
        images, as `fit` computes it. All values are JSON types.

    Raises:
        FileNotFoundError: If the weight file does not exist.
        MemoryError: If memory runs out on a single image.
        TypeError: If `model` is none of these.
        ValueError: If the model's classes contradict those of the data set, or the data set is empty, or 255 is its
            only label above 0.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> scores = evaluate(model, data.load("streets", "val", count=3, size=(32, 32)), batch_size=2)
        >>> scores["images"], sum(map(sum, scores["confusion_matrix"])) <= 3 * 32 * 32
        (3, True)
    """
    start = time.perf_counter()
    if isinstance(model, str | os.PathLike):
        model = zoo.load(model)
    found: Iterable[Any] = ()
    if total is None or len(dataset):  # a part of a small data set may be empty
        found = predictions(dataset, [model], batch_size=batch_size, reporter=reporter, task="evaluating", loss=loss)
    matrix, losses, images = np.zeros((len(dataset.classes),) * 2, "int64"), np.zeros(1), np.array([len(dataset)])
    for each in found:
        matrix += each.matrices(dataset)[0]
        losses += sum(each.losses)
    if total is not None:
        matrix, losses, images = map(total, (matrix, losses, images))
    result = metrics.scores(matrix)
    ious = [None if np.isnan(iou) else float(iou) for iou in result["iou"]]
    return {
        **{name: float(value) for name, value in result.items() if np.ndim(value) == 0},
        "iou": dict(zip(dataset.classes, ious, strict=True)),
        **({} if loss is None else {"loss": float(losses[0] / max(images[0], 1))}),
        "confusion_matrix": matrix.tolist(),
        "images": int(images[0]),
        "seconds": round(time.perf_counter() - start, 3),
    }


def sample_picture(
    models: Mapping[str, keras.Model], split: data.Dataset, places: np.ndarray, **options: Any
) -> np.ndarray:
    """Draws one row per image: the image, its label, and the prediction of each model, with its title; and a legend.

    `places` are indices, cut off to integers; options are those of `kseg.visualize.grid`. Of larger images than
    `SAMPLE_SIDE`, every second, third, ... pixel is shown.
    """
    predictors = [Predictor(model, tile=1024) for model in models.values()]
    rows = []
    for place in np.unique(np.asarray(places, int)):
        image, label = split[int(place)]
        masks = [label, *(predictor(image) for predictor in predictors)]
        step = -(-max(label.shape) // SAMPLE_SIDE)
        cells = [visualize.colorize(mask[::step, ::step], split.palette) for mask in masks]
        rows.append([visualize.rgb(image[::step, ::step]), *cells])
    options.setdefault("footer", lambda width: visualize.legend(split.classes, split.palette, width=width))
    return visualize.grid(rows, titles=["image", "label", *models], **options)
