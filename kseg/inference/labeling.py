"""The loop over a data set: every image is read once and labeled by one or several models."""

import collections
import copy
import dataclasses
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kseg.data import Dataset
from kseg.engines import Exported, Loss, is_out_of_memory
from kseg.inference.loss import measure
from kseg.inference.predictor import Predictor
from kseg.metrics import confusion_matrix
from kseg.progress import Reporter

if TYPE_CHECKING:
    import keras

PIXELS = 2**21
"""Pixels that pass through a network at once: batches hold no more, and larger images are cut into tiles."""
TILE = 1024
"""Side of those tiles."""
WINDOW = 2**16
"""Images whose sizes are known at a time."""
AHEAD = 4
"""Number of batches to read in advance."""

Model: TypeAlias = "keras.Model | Exported | Predictor | Callable[[np.ndarray], np.ndarray]"
"""A Keras model, an exported one, a predictor, or any function from an image `(H, W, C)` to class ids `(H, W)`."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One image of a data set: its index, its label map, and the label map that each model predicted.

    `losses` has the loss of each model in the batch of the image, if one was asked for.
    """

    index: int
    label: np.ndarray
    predicted: tuple[np.ndarray, ...]
    losses: tuple[float, ...] = ()

    def matrices(self, dataset: Dataset) -> np.ndarray:
        """Returns the confusion matrix of each model, int64 `(M, C, C)`, rows true, columns predicted."""
        classes, ignored = len(dataset.classes), dataset.ignore_class
        return np.stack([confusion_matrix(self.label, ids, classes, ignore_class=ignored) for ids in self.predicted])


def predictions(
    dataset: Dataset,
    models: Sequence[Model],
    *,
    batch_size: int = 8,
    reporter: Reporter | None = None,
    task: str = "predicting",
    indices: Iterable[int] | None = None,
    loss: Loss | None = None,
) -> Iterator[Prediction]:
    """Labels every image of a data set with one or several models.

    Memory is bounded by pixels: a batch holds images of one size with at most `PIXELS` pixels in all, and larger images
    are cut into tiles of `TILE` pixels, or as the `tile` of a `Predictor` says (0: never).

    Args:
        dataset: Images and labels.
        models: Keras models, predictors, or functions from an image `(H, W, C)` to class ids `(H, W)`.
        batch_size: Largest number of images per batch.
        reporter: Shows the progress.
        task: Text in front of the progress bar.
        indices: The images to label; None for all.
        loss: A function of label maps and scores to compute as well, if all models are Keras models or predictors.

    Yields:
        Predictions; of every `WINDOW` images, sorted by size.

    Raises:
        MemoryError: If memory runs out on a single image.
        TypeError: If a model is neither a Keras model nor a predictor nor a function.
        ValueError: If the data set is empty, its classes are not those of a model, or `batch_size` is below 1; after
            the last image, if 255 was the only label above 0.

    Example:
        >>> from kseg import data
        >>> streets = data.load("streets", "val", count=2, size=(32, 48))
        >>> [found.predicted[0].shape for found in predictions(streets, [lambda image: image[..., 0]])]
        [(32, 48), (32, 48)]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} has no images")
    labelers = [_labeler(model, dataset) for model in models]
    chosen = range(len(dataset)) if indices is None else list(indices)
    windows = (chosen[start : start + WINDOW] for start in range(0, len(chosen), WINDOW))
    batches = (batch for window in windows for batch in _read(dataset, _grouped(dataset, window, batch_size)))
    foreground = void = False
    with (reporter or Reporter(quiet=True)).task(task, len(chosen)) as advance:
        for group, images, labels in batches:
            try:
                found = [label(images, labels, loss) for label in labelers]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                _, height, width, _ = images.shape
                raise MemoryError(
                    f"memory ran out on an image of {height}x{width} pixels of {dataset.name}: free memory and start "
                    "again, or, outside training, use Predictor(model, tile=512) or kseg evaluate --tile 512"
                ) from error
            predicted, losses = zip(*found, strict=True)
            means = () if loss is None else losses
            yield from (
                Prediction(index, label, ids, means)
                for index, label, ids in zip(group, labels, zip(*predicted, strict=True), strict=True)
            )
            advance(len(images))
            foreground = foreground or any(((label > 0) & (label < dataset.ignore_class)).any() for label in labels)
            void = void or any((label == dataset.ignore_class).any() for label in labels)
    if text := dataset.only_void(foreground=foreground, void=void):
        raise ValueError(text)


def _grouped(dataset: Dataset, indices: Iterable[int], batch_size: int) -> list[list[int]]:
    """Divides images into groups of one size for batches."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index in indices:
        by_size.setdefault(dataset.size(index), []).append(index)
    groups: list[list[int]] = []
    for size in sorted(by_size):
        same, most = by_size[size], max(1, min(batch_size, PIXELS // math.prod(size)))
        groups += [part.tolist() for part in np.array_split(same, -(-len(same) // most))]
    return groups


Labeler: TypeAlias = Callable[[np.ndarray, list[np.ndarray], Loss | None], tuple[Iterable[np.ndarray], float]]


def _labeler(model: Model, dataset: Dataset) -> Labeler:
    """Returns a function that labels a batch; raises a ValueError if the model has other classes than the data set."""
    if not isinstance(model, Exported | Predictor) and not _is_keras_model(model):
        if not callable(model):
            raise TypeError(f"model must be a keras.Model, a Predictor or a function from image to ids, got {model!r}")
        return lambda images, truth, loss: ([model(image) for image in images], math.nan)
    whole = model if isinstance(model, Predictor) else Predictor(model)
    has_both = whole.channels == len(dataset.classes) == 2  # other libraries give two scores, kseg one
    if whole.channels != dataset.num_classes and not has_both:
        cure = ""
        if getattr(whole.model, "processor", {}).get("reduces_labels") and dataset.num_classes == whole.channels + 1:
            cure = (
                f": the model was trained without class 0 of the masks, so leave {dataset.classes[0]!r} out of the "
                f"classes, with values 1 to {whole.channels} and ignore 0"
            )
        raise ValueError(
            f"the model has num_classes={whole.channels}, {dataset.name} needs {dataset.num_classes} "
            f"({', '.join(dataset.classes)}){cure}"
        )
    classes = getattr(whole.model, "classes", None)
    if classes and tuple(classes) != tuple(dataset.classes):
        raise ValueError(
            f"the model's classes are {', '.join(classes)}; those of {dataset.name} are {', '.join(dataset.classes)}"
        )
    _compare_pixels(whole, dataset)
    tiled = copy.copy(whole)
    if tiled.tile is None:
        tiled.tile = TILE

    def label(images: np.ndarray, truth: list[np.ndarray], loss: Loss | None) -> tuple[Iterable[np.ndarray], float]:
        if images.shape[-1] != whole.bands:  # gray images for an RGB model, say
            images = np.stack([whole.read(image) for image in images])
        chosen = whole if images[0, ..., 0].size <= PIXELS else tiled
        return (chosen.labels(images), math.nan) if loss is None else measure(chosen, images, truth, loss)

    return label


def _is_keras_model(model: Any) -> bool:
    keras = sys.modules.get("keras")  # without which there are no such models
    return keras is not None and isinstance(model, keras.Model)


def _compare_pixels(predictor: Predictor, dataset: Dataset) -> None:
    """Warns if the files of a data set are read in another way than those that the model was trained on."""
    trained, read = getattr(predictor.model, "pixels", {}), getattr(dataset, "pixels", None)
    if trained and read is not None and trained != read.to_json():
        shown = [", ".join(f"{key} = {value}" for key, value in each.items()) for each in (trained, read.to_json())]
        warnings.warn(
            f"the model was trained on images with {shown[0]}; those of {dataset.name} are read with "
            f"{shown[1] or 'none of these'}",
            stacklevel=3,
        )


def _read(dataset: Dataset, groups: Iterable[list[int]]) -> Iterator[tuple[list[int], np.ndarray, list[np.ndarray]]]:
    """Reads groups of images of one size in threads, `AHEAD` groups ahead, or one above `PIXELS`."""

    def read(indices: list[int]) -> tuple[list[int], np.ndarray, list[np.ndarray]]:
        images, labels = zip(*(dataset[index] for index in indices), strict=True)
        return indices, np.stack(images), list(labels)

    pool, waiting = ThreadPoolExecutor(AHEAD), collections.deque[Future]()
    try:
        for indices in groups:
            waiting.append(pool.submit(read, indices))
            while len(waiting) > (1 if math.prod(dataset.size(indices[0])) > PIXELS else AHEAD):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
