"""The loss of a predictor on labeled images, computed together with its labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kseg.engines import Loss, as_scores, is_out_of_memory

if TYPE_CHECKING:
    from kseg.inference.predictor import Predictor

SCORES = 2**26
"""Scores that are held at once to compute a loss."""
VOID = 255
"""The label of the pixels with which images are padded."""


def measure(
    predictor: "Predictor", images: np.ndarray, truth: Sequence[np.ndarray], loss: Loss
) -> tuple[np.ndarray, float]:
    """Labels a batch and computes its loss.

    Args:
        predictor: Labels the images.
        images: The images `(N, H, W, C)`.
        truth: Their label maps.
        loss: A function of label maps, in which 255 is void, and the scores of the model, which the backend compiles
            with the network. Batches may be padded with void pixels.

    Returns:
        The label maps, as `Predictor.labels` returns them, and the loss. Where tiles or an average are joined, the
        scores are the logarithms of their probabilities; the loss of an image is the mean over its tiles.
    """
    many = len(images) > 1
    if many and images[..., 0].size * predictor.channels > SCORES:
        return _measure_each(predictor, images, truth, loss)
    try:
        return _measure(predictor, images, truth, loss)
    except Exception as error:  # backends have error types of their own
        if not many or not is_out_of_memory(error):
            raise
    return _measure_each(predictor, images, truth, loss)


def _measure_each(
    predictor: "Predictor", images: np.ndarray, truth: Sequence[np.ndarray], loss: Loss
) -> tuple[np.ndarray, float]:
    found = [_measure(predictor, image[None], [label], loss) for image, label in zip(images, truth, strict=True)]
    return np.concatenate([ids for ids, _ in found]), float(np.mean([value for _, value in found]))


def _measure(
    predictor: "Predictor", images: np.ndarray, truth: Sequence[np.ndarray], loss: Loss
) -> tuple[np.ndarray, float]:
    values: list[float] = []
    network = predictor.network_with(loss, images)
    if network is not None:

        def run(padded: np.ndarray) -> np.ndarray:
            known = np.full(padded.shape[:3], VOID, "int32")
            known[: len(images), : images.shape[1], : images.shape[2]] = truth
            ids, value = network(padded, known)
            values.append(float(value))
            return ids

        return predictor.run(run, images).astype(predictor.dtype, copy=False), values[0]
    found = np.empty(images.shape[:3], predictor.dtype)
    for ids, image, label in zip(found, images, truth, strict=True):
        total = 0.0
        for place, p in predictor.parts(image):
            ids[place] = predictor.decide(p)
            total += label[place].size * float(loss(label[place][None], _scores(p, predictor.from_logits)[None]))
        values.append(total / label.size)
    return found, float(np.mean(values))


def _scores(p: np.ndarray, logits: bool) -> np.ndarray:
    """Returns probabilities as scores of the kind that the model gives."""
    return as_scores(p) if logits else p
